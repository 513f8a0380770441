"""`callquake failures`: run failure modes twice, with their fix off and on, and keep the table of both."""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.calibrate.machine import cpu_model
from harness.commands.failure_run import run_mode, sayer
from harness.commands.output import write_text
from harness.commands.target_child import ROOT, interrupt_on_sigterm
from harness.exit_codes import ExitCode
from harness.failures import table
from harness.failures.failure_file import Failure, is_failure, load_failure
from harness.failures.judge import Judged, Outcome, SideRun, deciding, exit_code_of
from harness.failures.prepared import prepared_sides
from harness.model.errors import ScenarioError
from harness.scenario.run_dir import new_run_id

FOLDER = ROOT / "scenarios" / "failures"
DESCRIPTION = """\
Run failure modes of a voice agent, each twice against the bundled agent: with its fix off the run must FAIL and show
the symptom that the runbook names, with its fix on it must PASS. Leave the machine alone meanwhile: time is measured.
"""
EPILOG = """\
examples:
  callquake failures list
  callquake failures run tts_saturation                       a mode of scenarios/failures
  callquake failures run my/failure.yaml --json proof.json    one of your own
  callquake failures run --into docs/failures.md              the six of the runbook, and the table of both columns
  callquake failures run --all

Each run leaves scenario, log and report in reports/failures/<run-id>. Ctrl-C ends the run in progress and the agent; a
second one at once. With --into, modes that are not run keep the lines they have.

exit codes: 0 each mode failed with its fix off, showed its symptom, and passed with its fix on; 99 one did not, 97
something was not measured, 98 a run was void, 103 the agent did not start, 104 wrong file or name, 105 interrupted
(docs/failures.md).
"""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("failures", help="run failure modes with their fix off and on: proof of both")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the failure modes of a folder")
    listing.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER")
    listing.set_defaults(call=list_folder)
    runner = actions.add_parser(
        "run",
        help="run modes twice and judge them",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    runner.add_argument("names", nargs="*", metavar="NAME", help="of scenarios/failures, or a file; default: the six")
    runner.add_argument("--all", action="store_true", help="every mode of scenarios/failures")
    runner.add_argument("--into", type=Path, metavar="FILE", help="write the table between the marks of this page")
    runner.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    runner.add_argument("--run-dir", type=Path, metavar="DIR", help="default: reports/failures/<run-id>")
    runner.set_defaults(call=run)


def list_folder(options: argparse.Namespace) -> int:
    """List the modes of a folder, in the runbook's order."""
    for failure in _of_folder(options.folder):
        number = f"{failure.about.runbook}." if failure.about.runbook else "-"
        print(f"{number:<3}{failure.name:<20} {failure.about.title} (models {failure.about.models})")
        print(f"   {'':<20} symptom: {failure.about.symptom}")
        print(f"   {'':<20} fix: {failure.about.fix}")
    return ExitCode.PASSED


def run(options: argparse.Namespace) -> int:
    """Run the modes asked for, one after the other; return the exit code. Raises ScenarioError before anything runs."""
    failures = _chosen(options)
    for failure in failures:
        prepared_sides(failure)
    if options.into is not None:
        _check_page(options.into)
    interrupt_on_sigterm()
    folder = (options.run_dir or Path("reports") / "failures" / new_run_id("failures")).resolve()
    if folder.is_dir() and any(folder.iterdir()):
        # An older run's records would be told as this one's.
        raise ScenarioError(f"--run-dir: {folder} is not empty; legal: a new or an empty folder")
    # Before the first mode: what runs is what is there now, whatever is committed meanwhile.
    where = f"{_machine()}, {commit(ROOT, options.into)}"
    done: list[Judged] = []
    for number, failure in enumerate(failures, 1):
        one = run_mode(failure, folder, f"{number}/{len(failures)} {failure.name}")
        done.append(one)
        _tell(one)
        # After each: a table of what is done survives whatever comes.
        _write(options, done, where)
        if one.outcome is Outcome.INTERRUPTED:
            break
    _summarise(done, len(failures))
    return exit_code_of(done)


# --- which ---------------------------------------------------------------------------------------------------------


def _chosen(options: argparse.Namespace) -> list[Failure]:
    if options.names:
        return [_named(name) for name in dict.fromkeys(options.names)]
    return [failure for failure in _of_folder(FOLDER) if options.all or failure.about.runbook]


def _named(name: str) -> Failure:
    path = Path(name)
    if path.suffix == ".yaml":
        return load_failure(path)
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        legal = ", ".join(failure.name for failure in _of_folder(FOLDER))
        raise ScenarioError(f"failure mode {name!r}: unknown; legal: {legal}, or a file that ends in .yaml")
    return load_failure(path)


def _of_folder(folder: Path) -> list[Failure]:
    if not folder.is_dir():
        raise ScenarioError(f"{folder}: no such folder; legal: a folder that holds failure files (*.yaml)")
    found = [load_failure(path) for path in sorted(folder.glob("*.yaml")) if is_failure(path)]
    return sorted(found, key=lambda failure: (failure.about.runbook or 1_000, failure.name))


# --- what came of it -----------------------------------------------------------------------------------------------


def _tell(judged: Judged) -> None:
    say = sayer(judged.failure.name)
    for side in (judged.off, judged.on):
        say(f"fix {side.side}: {side.verdict}: {'; '.join(deciding(side))}")
    for symptom, block in zip(judged.symptoms, judged.failure.file.symptoms, strict=False):
        shown = {True: "shown", False: "NOT shown", None: "not measured"}[symptom.off.is_shown]
        say(f"symptom {block.metric} {symptom.declared}: {shown}: {symptom.off.why}")
    say(judged.outcome.value + (f": {'; '.join(judged.reasons)}" if judged.reasons else ""))


def _summarise(done: Sequence[Judged], asked: int) -> None:
    print(f"\n{'failure mode':<22}{'fix off':<10}{'fix on':<10}")
    for one in done:
        print(f"{one.failure.name:<22}{one.off.verdict:<10}{one.on.verdict:<10}{one.outcome.value}")
    if len(done) < asked:
        print(f"{asked - len(done)} of {asked} were not run")


def _check_page(path: Path) -> str:
    try:
        page = path.read_text(encoding="utf-8")
        table.into(page, "")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"--into: {path}: cannot be read: {error}") from error
    except ValueError as error:
        raise ScenarioError(f"--into: {path}: {error}") from error
    return page


def _write(options: argparse.Namespace, done: Sequence[Judged], where: str) -> None:
    if options.json is not None:
        write_text(options.json, json.dumps([_as_json(one) for one in done], indent=1, ensure_ascii=False) + "\n")
    if options.into is None:
        return
    page = _check_page(options.into)
    fresh = {
        one.failure.name: table.lines_of(one, datetime.now(UTC).date().isoformat(), where)
        for one in done
        if one.outcome is not Outcome.INTERRUPTED
    }
    known = {failure.name: failure for failure in _of_folder(FOLDER)}
    old = table.kept(page)
    names = dict.fromkeys([*known, *old, *fresh])
    modes = {name: fresh.get(name) or old.get(name) or table.never(known[name]) for name in names}
    write_text(options.into, table.into(page, table.render(modes)))


def _machine() -> str:
    return f"{os.cpu_count()} cores ({cpu_model()}), {platform.system()} {platform.machine()}"


def commit(root: Path, page: Path | None = None) -> str:
    """Word which commit of `root` runs, and whether files differ from it; `page`, which is being written, may."""
    top, head = _git(root, "rev-parse", "--show-toplevel"), _git(root, "rev-parse", "--short=10", "HEAD")
    if head is None or Path(top or "/") != root.resolve():
        # An installed copy may lie within somebody's checkout of something else.
        return "not a git checkout"
    is_own = page is not None and page.resolve().is_relative_to(root)
    left_out = [f":(exclude){page.resolve()}"] if page is not None and is_own else []
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *left_out)
    return f"commit {head}" + (" and changes that are in none" if changed else "")


def _git(root: Path, *words: str) -> str | None:
    """Return what git says of `root`, None where it says nothing of it."""
    command = ["git", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _as_json(judged: Judged) -> dict[str, Any]:
    return {
        "name": judged.failure.name,
        "title": judged.failure.about.title,
        "models": judged.failure.about.models,
        "outcome": judged.outcome.value,
        "reasons": list(judged.reasons),
        "sides": {side.side: _side_json(side) for side in (judged.off, judged.on)},
        "symptoms": [
            {
                "metric": block.metric,
                "declared": symptom.declared,
                "is_shown": symptom.off.is_shown,
                "moves": {
                    name: {"from": move.start.shown, "to": move.end.shown, "n": [move.start.n, move.end.n]}
                    for name, move in (("off", symptom.off), ("on", symptom.on))
                    if move is not None
                },
            }
            for block, symptom in zip(judged.failure.file.symptoms, judged.symptoms, strict=False)
        ],
    }


def _side_json(side: SideRun) -> dict[str, Any]:
    told = {"verdict": side.verdict, "exit_code": side.code, "deciding": deciding(side)}
    return {**told, "up": side.up, "run": side.run_dir}
