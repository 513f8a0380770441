"""`callquake run`: check everything, start Locust as a child process, follow it, judge what it left on disk.

Locust never runs in this process: importing it patches the interpreter. The child has a process group of its own, so
that Ctrl-C reaches it once and by us alone, and so that nothing of it can be left behind.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.commands import workers
from harness.commands.calibration_hint import print_calibration
from harness.commands.live.beside import beside, check
from harness.commands.locust_child import LocustChild
from harness.commands.scenario import describe, print_hint
from harness.exit_codes import ExitCode
from harness.faults.journal import replay
from harness.model.clock import monotonic_ns
from harness.model.errors import ScenarioError
from harness.report.finish import finish_run
from harness.scenario.check import Prepared, prepare
from harness.scenario.reachability import probe_all
from harness.scenario.run_dir import RUN_FILE, new_run_id, utc_now, write_json

LOG_FILE = "locust.log"
_LOG_TAIL = 15
_LOCUSTS_TABLES = "Type     Name"
_LOCUSTFILE = Path(__file__).parents[1] / "load" / "locustfile.py"


def run(options: argparse.Namespace) -> int:
    """Run a scenario and return the verdict's exit code; raises ScenarioError and TargetError before any call."""
    workers.check(options)
    check(options)
    if options.worker:
        return _run_as_worker(options)
    prepared = prepare(
        options.scenario,
        url=" ".join(options.target or []) or None,
        seed=options.seed,
        corpus_dir=options.corpus,
        calls=options.calls,
        only=options.only_target or (),
        runbook=options.runbook,
        minutes=options.minutes,
    )
    print(f"scenario {prepared.loaded.scenario.name}: {describe(prepared)}", flush=True)
    print_hint(prepared)
    print_calibration(prepared)
    _check_run_dir(options.run_dir)
    infos = probe_all(prepared.targets)
    run_id = new_run_id(prepared.loaded.scenario.name)
    run_dir = options.run_dir or Path("reports") / run_id
    if options.web:
        return _run_in_web_ui(options, prepared)
    return _run_headless(options, prepared, run_dir, run_id, infos)


def _check_run_dir(run_dir: Path | None) -> None:
    if run_dir is None or not run_dir.exists():
        return
    if not run_dir.is_dir() or any(run_dir.iterdir()):
        raise ScenarioError(f"--run-dir: {run_dir} exists and is not an empty directory; legal: a new or empty one")


def _run_headless(
    options: argparse.Namespace,
    prepared: Prepared,
    run_dir: Path,
    run_id: str,
    infos: Mapping[str, Mapping[str, Any] | None],
) -> int:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScenarioError(f"--run-dir: cannot create {run_dir}: {error.strerror}") from error
    print(f"run directory {run_dir}", flush=True)
    words = [*_locust_words(options, prepared), "--headless", "--only-summary", "--no-report"]
    words += ["--run-dir", str(run_dir), "--run-id", run_id]
    child = LocustChild(words, run_dir / LOG_FILE)
    with beside(options, prepared, run_dir, run_id, infos):
        status = child.follow()
    # Had Locust been killed, its faults would still be in force.
    replay(os.environ, lambda text: print(text, file=sys.stderr, flush=True))
    if not (run_dir / RUN_FILE).exists() and child.was_interrupted:
        print("interrupted before the first call; nothing was recorded", flush=True)
        return ExitCode.INTERRUPTED
    if not (run_dir / RUN_FILE).exists():
        return _explain_false_start(run_dir / LOG_FILE, status)
    if child.was_interrupted:
        print("interrupted: the report covers what was recorded", flush=True)
    _close_run(run_dir / RUN_FILE, status, child)
    return finish_run(run_dir).exit_code


def _run_in_web_ui(options: argparse.Namespace, prepared: Prepared) -> int:
    words = [*_locust_words(options, prepared), "--web-host", options.web_host, "--web-port", str(options.web_port)]
    if options.run_dir is not None:
        words += ["--run-dir", str(options.run_dir)]
    print(f"web UI: http://{options.web_host}:{options.web_port} (Ctrl-C ends it)", flush=True)
    status = LocustChild(words, None).follow()
    return status if status >= 0 else ExitCode.LOCUST_ERROR


def _run_as_worker(options: argparse.Namespace) -> int:
    """Take a share of a master's run. The verdict is the master's; a code other than 0 says what went wrong here."""
    words = ["-f", str(_LOCUSTFILE), *workers.locust_words(options)]
    if options.corpus is not None:
        words += ["--corpus", str(options.corpus)]
    if options.run_dir is not None:
        words += ["--run-dir", str(options.run_dir)]
    host, port = options.master_host or "127.0.0.1", options.master_port or workers.DEFAULT_PORT
    print(f"worker of the master at {host}:{port} (Ctrl-C ends it)", flush=True)
    status = LocustChild(words, None, signals_group=True).follow()
    return status if status >= 0 else ExitCode.LOCUST_ERROR


def _locust_words(options: argparse.Namespace, prepared: Prepared) -> list[str]:
    words = ["-f", str(_LOCUSTFILE), "--scenario", str(options.scenario), "--seed", str(prepared.seed)]
    words += ["--target", prepared.url]
    if prepared.only:
        words += ["--only-targets", " ".join(prepared.only)]
    if options.corpus is not None:
        words += ["--corpus", str(options.corpus)]
    if options.runbook is not None:
        words += ["--runbook", str(options.runbook)]
    if options.calls is not None:
        words += ["--calls", str(options.calls)]
    if options.minutes is not None:
        words += ["--minutes", str(options.minutes)]
    return [*words, *workers.locust_words(options)]


def _explain_false_start(log: Path, status: int) -> int:
    """Locust ended before the run began: show why."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    # Locust ends with tables of the requests it made: none, and the reason stands before them.
    lines = list(itertools.takewhile(lambda line: not line.startswith(_LOCUSTS_TABLES), lines))
    print("\n".join(lines[-_LOG_TAIL:]), file=sys.stderr)
    print(f"the load generator ended before the run began ({describe_status(status)}); its log: {log}", file=sys.stderr)
    before_any_call = {ExitCode.BAD_SCENARIO, ExitCode.TARGET_UNREACHABLE}
    return status if status in before_any_call else ExitCode.LOCUST_ERROR


def _close_run(path: Path, status: int, child: LocustChild) -> None:
    """Say in run.json how the run ended where Locust died before it could."""
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if info["status"] != "running":
        return
    note = f"the load generator (Locust) {describe_status(status)} before the run was over"
    if child.calls_active:
        note += f"; {child.calls_active} calls in progress left no record"
    info |= {
        "status": "interrupted" if child.was_interrupted else "engine_died",
        "notes": [*info["notes"], note],
        "ended_at": utc_now(),
        "ended_monotonic_ns": monotonic_ns(),
    }
    print(note, file=sys.stderr)
    write_json(path, info)


def describe_status(status: int) -> str:
    """Word a child's exit status."""
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
