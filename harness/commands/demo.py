"""`callquake demo`: models, target stack, smoke run, verdict: one command, with a line at each step."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from harness.commands.target_child import ROOT, interrupt_on_sigterm, run_to_the_end, target_stack
from harness.exit_codes import ExitCode

SCENARIO = ROOT / "scenarios" / "smoke.yaml"
START_LIMIT_S = 180.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--llm",
        choices=["real", "scripted"],
        default="real",
        help="real: Gemma 3 270M in a local server; scripted: canned replies (default: %(default)s)",
    )
    parser.add_argument(
        "--scenario", type=Path, default=SCENARIO, help="scenario to run (default: scenarios/smoke.yaml)"
    )
    parser.add_argument("--seed", type=int, default=None, help="another seed than the scenario's")


def demo(options: argparse.Namespace) -> int:
    """Run the demo; return the run's exit code."""
    interrupt_on_sigterm()
    began = time.monotonic()
    _say("1/4 models: fetching and checking (the first time 350 MB)")
    fetch = [sys.executable, "-m", "target_stack", "models", "fetch", "--llm", options.llm]
    # The media loop is compiled meanwhile; a fetch waits for the network.
    compiling = subprocess.Popen([sys.executable, "-m", "harness.media"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        # Its last lines are paths, for scripts.
        fetched = subprocess.run(fetch, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        if fetched.returncode != 0:
            return fetched.returncode
        if compiling.poll() is None:
            _say("1/4 media loop: compiling, once (half a minute)")
        compiling.wait()
    finally:
        compiling.kill()
        compiling.wait()
    _say("2/4 target stack: starting (profile cpu)")
    words = ["--profile", "cpu", "--port", "0", "--llm", options.llm]
    with target_stack(words, _say, ready_within_s=START_LIMIT_S, on_line=_show) as addresses:
        if addresses is None:
            return ExitCode.TARGET_UNREACHABLE
        _say(f"3/4 calls: {options.scenario.name} against {addresses.origin}")
        target = f"{addresses.origin}/api/offer"
        command = [sys.executable, "-m", "harness.cli", "run", str(options.scenario), "--target", target]
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        code = run_to_the_end(command, _say)
        _say("4/4 target stack: stopping")
    _say(f"done in {time.monotonic() - began:.0f} s, exit code {code}")
    return code


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _show(line: str) -> None:
    print(line, flush=True)
