"""A failure mode's two runs: the agent started, called by `callquake run`, and stopped; the fix off, then on."""

import sys
from pathlib import Path

from harness.commands.target_child import Addresses, Say, run_to_the_end, target_stack, typed
from harness.exit_codes import ExitCode
from harness.failures.failure_file import OFF, ON, Failure, Places, Side
from harness.failures.judge import Judged, SideRun, judge
from harness.failures.prepared import write_files, write_scenario
from harness.model.errors import ScenarioError
from harness.report.analysis import analyse
from harness.report.store import read_run
from harness.scenario.run_dir import RUN_FILE

# Of a run's output, what is shown while it goes; all of it is in its log.
_SHOWN = ("calls:", "starting the engine", "stopping", "WARNING")


def run_mode(failure: Failure, folder: Path, place: str) -> Judged:
    """Run a mode with its fix off and on, and judge both. Raises ScenarioError where `folder` cannot be written to."""
    try:
        write_files(failure, _files(failure, folder))
    except OSError as error:
        raise ScenarioError(f"--run-dir: {folder}: cannot be written: {error.strerror}") from error
    off = _run_side(failure, OFF, folder, sayer(f"{place}, fix off"))
    if off.code == ExitCode.INTERRUPTED:
        return judge(failure, off, SideRun(ON, ExitCode.INTERRUPTED, why="interrupted before it began"))
    return judge(failure, off, _run_side(failure, ON, folder, sayer(f"{place}, fix on")))


def sayer(place: str) -> Say:
    """Return what prints a line of progress of `place`."""
    return lambda text: print(f"failures: {place}: {text}", flush=True)


def _files(failure: Failure, folder: Path) -> Path:
    return folder / f"{failure.name}-files"


def _run_side(failure: Failure, side: Side, folder: Path, say: Say) -> SideRun:
    words = ["--port", "0", *failure.up_words(side, Places("", files=_files(failure, folder)))]
    up = typed([*failure.file.target.up, *failure.side(side).up])
    ended: list[int | None] = []
    say("starting the target")
    try:
        log = _Log(folder / f"{failure.name}-{side}-up.log")
        limit_s = failure.file.target.ready_within_s
        # Its times are what is measured: it must not give way to whatever else the machine does.
        with target_stack(words, say, ready_within_s=limit_s, on_line=log, gives_way=False, on_end=ended.append) as at:
            if at is None:
                why = f"the target did not start; see {failure.name}-{side}-up.log"
                return SideRun(side, ExitCode.TARGET_UNREACHABLE, None, why, is_unreachable=True, up=up)
            code = _call(failure, side, folder, at, say)
    except KeyboardInterrupt:
        return SideRun(side, ExitCode.INTERRUPTED, why="interrupted", up=up)
    if ended != [None]:
        # Calls that fail by a dead agent show no symptom of the mode's.
        why = f"the target ended by itself, with exit code {ended[0]}; see {failure.name}-{side}-up.log"
        return SideRun(side, code, None, why, up=up)
    return _read(side, code, folder / f"{failure.name}-{side}", up)


def _call(failure: Failure, side: Side, folder: Path, at: Addresses, say: Say) -> int:
    path = write_scenario(failure, side, folder, Places(at.origin, at.sip, _files(failure, folder)))
    run_dir = folder / f"{failure.name}-{side}"
    say(f"ready on {at.origin}; calling")
    command = [sys.executable, "-m", "harness.cli", "run", str(path), "--run-dir", str(run_dir)]
    return run_to_the_end(command, say, _Log(folder / f"{failure.name}-{side}.log", say))


class _Log:
    """Takes a child's lines into a file, and shows those that tell how far it is."""

    def __init__(self, path: Path, say: Say | None = None) -> None:
        self._path, self._say = path, say

    def __call__(self, line: str) -> None:
        # Whoever reads a child's lines must go on, or the child waits for ever.
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            print(f"{self._path}: cannot be written: {error.strerror}: {line}", file=sys.stderr)
        if self._say is not None and line.startswith(_SHOWN):
            self._say(line)


def _read(side: Side, code: int, run_dir: Path, up: str) -> SideRun:
    if not (run_dir / RUN_FILE).exists():
        log = run_dir.with_suffix(".log").name
        return SideRun(side, code, None, f"the run ended with exit code {code} and no records; see {log}", up=up)
    analysis = analyse(read_run(run_dir))
    if code != analysis.verdict.exit_code:
        told = f"exit code {code}, its records say {analysis.verdict.exit_code:d}"
        why = f"the run ended with {told}; see {run_dir.name}.log"
        return SideRun(side, code, None, why, up=up)
    return SideRun(side, code, analysis, up=up, run_dir=str(run_dir))
