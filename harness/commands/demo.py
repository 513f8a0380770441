"""`callquake demo`: models, target stack, smoke run, verdict: one command, with a line at each step."""

import argparse
import contextlib
import ctypes
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "smoke.yaml"
START_LIMIT_S = 180.0
STOP_LIMIT_S = 10.0
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_READY = re.compile(r"ready on (http://\S+)")


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
    # A CI job is cancelled by SIGTERM; what Ctrl-C tidies up, that must too.
    signal.signal(signal.SIGTERM, _interrupt)
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
    with _target_stack(options.llm) as origin:
        if origin is None:
            return ExitCode.TARGET_UNREACHABLE
        _say(f"3/4 calls: {options.scenario.name} against {origin}")
        command = [sys.executable, "-m", "harness.cli", "run", str(options.scenario), "--target", f"{origin}/api/offer"]
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        code = _run_to_the_end(command)
        _say("4/4 target stack: stopping")
    _say(f"done in {time.monotonic() - began:.0f} s, exit code {code}")
    return code


def _interrupt(*_: object) -> None:
    # Not by way of SIGINT: a shell has a job in its background ignore that one.
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _run_to_the_end(command: list[str]) -> int:
    """Run a child to its end; Ctrl-C reaches it through the terminal, and its partial report is waited for."""
    child = subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - it takes no lock, and only one prctl
    )
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            _say("stopping; the calls so far are being reported")
            child.send_signal(signal.SIGINT)


def _end_with_parent() -> None:
    """In a child: be told by SIGTERM when the parent dies, even by kill -9 (Linux; elsewhere nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _target_stack(llm: str) -> Iterator[str | None]:
    """Start the stack on a free port, yield its origin once ready (None when it failed), stop it on every way out."""
    command = [sys.executable, "-m", "target_stack", "up", "--profile", "cpu", "--port", "0", "--llm", llm]
    # A session of its own: Ctrl-C must reach the run first, and the stack only after it.
    stack = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - it takes no lock, and only one prctl
    )
    try:
        yield _await_ready(stack)
    finally:
        stack.send_signal(signal.SIGINT)
        try:
            stack.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            stack.kill()
            stack.wait()


def _await_ready(stack: "subprocess.Popen[str]") -> str | None:
    found: list[str] = []
    ready = threading.Event()

    def relay() -> None:
        for line in stack.stderr or ():
            print(f"  {line}", end="", flush=True)
            match = _READY.search(line)
            if match:
                found.append(match[1])
                ready.set()
        ready.set()

    threading.Thread(target=relay, daemon=True).start()
    ready.wait(START_LIMIT_S)
    if not found:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its messages end a moment before it does.
            stack.wait(1)
        ended = stack.poll()
        how = f"was not ready within {START_LIMIT_S:.0f} s" if ended is None else f"ended with exit code {ended}"
        _say(f"the target stack {how}; its messages are above")
        return None
    return found[0]
