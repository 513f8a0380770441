"""`callquake incident import | report`, and `callquake replay`."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.commands import run as run_command
from harness.commands.output import write_text
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode
from harness.incidents import calls_file, prometheus, render
from harness.incidents.incident import About, load_about, load_incident
from harness.incidents.replay import replayed, scenario_of
from harness.incidents.report import report_of
from harness.incidents.rows import read_text
from harness.incidents.write import incident_yaml
from harness.model.errors import ScenarioError
from harness.report.analysis import analyse
from harness.report.store import read_run
from harness.scenario.loader import problems_of
from harness.scenario.run_dir import new_run_id
from harness.scenario.target.block import Target

INCIDENT_FILE = "incident.yaml"
_IMPORT_EPILOG = """\
FILE is a CSV with a header, JSON lines, a JSON list, or the answer of Prometheus' /api/v1/query_range. Columns are
found by the names that Asterisk, FreeSWITCH, Twilio and others give them, or named by options.

examples:
  callquake incident import cdr.csv --out outage.yaml --target sip:agent@10.0.0.5
  callquake incident import calls.jsonl --time-column answered --caller-column accent --out outage.yaml
  callquake incident import range.json --rate per_second --out outage.yaml
  callquake replay outage.yaml --speed 10 --scale 0.5
  callquake incident report reports/<run-id>

exit codes: 0 done, 104 wrong file or option
"""
_REPLAY_EPILOG = """\
Calls come when they came then, divided by --speed; faults of the incident likewise. --scale places so many times as
many calls. What callers say, and for how long, is not sped up. The run is an ordinary one: same reports, exit codes of
`callquake run`, and incident.md and incident.html beside them.

examples:
  callquake replay scenarios/incidents/tts_saturation.yaml
  callquake replay outage.yaml --target http://staging.test/api/offer --speed 10 --run-dir reports/before
"""
_DEFAULT_TARGET = "http://127.0.0.1:8080/api/offer"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands to the parser."""
    parser = commands.add_parser("incident", help="make an incident from a file of calls; report a run as one")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_import(actions)
    _add_report(actions)


def _add_import(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "import",
        help="an incident file from a CDR, CSV, JSON lines or a Prometheus range",
        epilog=_IMPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="INCIDENT", help="incident file to write")
    parser.add_argument("--title", metavar="TEXT", help="default: the file's name")
    parser.add_argument("--target", default=_DEFAULT_TARGET, metavar="URL", help="default: %(default)s")
    parser.add_argument("--time-column", default="", metavar="NAME", help="when the call came")
    parser.add_argument("--duration-column", default="", metavar="NAME", help="how long it was, in seconds")
    parser.add_argument("--status-column", default="", metavar="NAME", help="how it ended")
    parser.add_argument("--caller-column", default="", metavar="NAME", help="what kind of caller; accents select clips")
    parser.add_argument("--rate", choices=prometheus.UNITS, help="what a range's values are; default: per_second")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the arrivals drawn from a range")
    parser.add_argument("--force", action="store_true", help="write over an existing incident file")
    parser.set_defaults(call=import_calls)


def _add_report(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser("report", help="fill the incident template from a run, in Markdown and HTML")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="like reports/<run-id>")
    parser.add_argument(
        "--incident", type=Path, metavar="FILE", help="what people know of it; default: the replayed one"
    )
    parser.add_argument("--normal", type=Path, metavar="RUN_DIR", help="a run to take the normal figures from")
    parser.set_defaults(call=write_report)


def add_replay(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `callquake replay`; returns its parser, for the options it shares with `callquake run`."""
    parser = commands.add_parser(
        "replay",
        help="place the calls of an incident again",
        epilog=_REPLAY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("incident", type=Path, metavar="INCIDENT", help="incident file (YAML)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="so many times as fast; default 1")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="so many times as many calls; default 1")
    parser.set_defaults(call=replay)
    return parser


def import_calls(options: argparse.Namespace) -> int:
    """Write an incident file; raises ScenarioError."""
    if options.out.exists() and not options.force:
        raise ScenarioError(f"--out: {options.out} exists; legal: a new file, or --force")
    _check_target(options.target)
    calls = _imported(options)
    accents = [str(accent) for accent in load_corpus(None).legal_values()["accent"]]
    title = options.title or options.file.stem.replace("_", " ")
    text = incident_yaml(calls, title=title, source=options.file.name, target=options.target, accents=accents)
    write_text(options.out, text)
    for note in calls.notes:
        print(note, file=sys.stderr)
    print(f"{options.out}: {len(calls.at_s)} calls within {calls.at_s[-1]:.0f} s; callquake replay {options.out}")
    return ExitCode.PASSED


def _imported(options: argparse.Namespace) -> calls_file.ImportedCalls:
    columns = calls_file.Columns(
        options.time_column, options.duration_column, options.status_column, options.caller_column
    )
    named = next((f"--{part.name}-column" for part in fields(columns) if getattr(columns, part.name)), None)
    if prometheus.is_answer(read_text(options.file)):
        if named is not None:
            raise ScenarioError(f"{named}: {options.file} is Prometheus' answer and has no columns; legal: --rate")
        return prometheus.read_range(options.file, options.rate or prometheus.UNITS[0], options.seed)
    if options.rate is not None:
        raise ScenarioError(f"--rate: {options.file} is a file of calls, no answer of Prometheus; legal: leave it out")
    return calls_file.read_calls(options.file, columns)


def _check_target(url: str) -> None:
    try:
        Target.model_validate({"url": url}, context={"environ": None, "folder": Path()})
    except ValidationError as error:
        said = [one.removeprefix("url: ") for one in problems_of(error)]
        raise ScenarioError("\n".join(f"--target: {one}" for one in said)) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error


def replay(options: argparse.Namespace) -> int:
    """Replay an incident and return the verdict's exit code; raises ScenarioError and TargetError."""
    incident = load_incident(options.incident)
    scenario = scenario_of(incident, options.speed, options.scale)
    folder = Path("reports") / "replays"
    path = folder / f"{incident.path.stem}-x{options.speed:g}-{options.scale:g}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScenarioError(f"{folder}: cannot be made: {error.strerror}") from error
    write_text(path, yaml.safe_dump(scenario, sort_keys=False, allow_unicode=True))
    options.scenario = path
    if options.run_dir is None:
        options.run_dir = _new_run_dir(str(scenario["name"]))
    code = run_command.run(options)
    if (options.run_dir / "run.json").exists():
        kept = options.run_dir / INCIDENT_FILE
        write_text(kept, replayed(_text(incident.path), options.speed))
        _report(options.run_dir, load_about(kept), None)
    return code


def _new_run_dir(name: str) -> Path:

    return Path("reports") / new_run_id(name)


def write_report(options: argparse.Namespace) -> int:
    """Write incident.md and incident.html into the run's directory; raises ScenarioError."""
    kept = options.run_dir / INCIDENT_FILE
    path = options.incident or (kept if kept.exists() else None)
    _report(options.run_dir, load_about(path) if path else None, options.normal)
    return ExitCode.PASSED


def _report(run_dir: Path, about: About | None, normal: Path | None) -> None:
    analysis = analyse(read_run(run_dir))
    found = report_of(analysis, about, analyse(read_run(normal)) if normal else None)
    write_text(run_dir / "incident.md", render.markdown(found))
    write_text(run_dir / "incident.html", render.html(found))
    print(f"Incident report: {run_dir / 'incident.md'} and incident.html")
