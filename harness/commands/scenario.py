"""`callquake scenario`: check and list scenario files, print their schema."""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from harness.exit_codes import ExitCode
from harness.failures.failure_file import OFF, is_failure, load_failure
from harness.failures.prepared import prepared_sides
from harness.incidents.incident import is_incident, lines_of, load_incident, source_of
from harness.incidents.replay import scenario_of
from harness.model.errors import ScenarioError
from harness.scenario.check import Prepared, prepare
from harness.scenario.faults import due_faults
from harness.scenario.loader import load_scenario
from harness.scenario.made_of import at_source
from harness.scenario.schema import json_schema

# Enough to show the mix; planning every call of a soak would take seconds.
_SHOWN_CALLS = 1_000


def check(options: argparse.Namespace) -> int:
    """Check every file; print what each would do, or what is wrong with it."""
    code = ExitCode.PASSED
    for path in options.files:
        try:
            prepared = _prepare(path, options.corpus)
            print(f"{path}: ok. {describe(prepared)}")
            print_hint(prepared)
        except ScenarioError as error:
            print(error, file=sys.stderr)
            code = ExitCode.BAD_SCENARIO
    return code


def _prepare(path: Path, corpus: Path | None) -> Prepared:
    """Check a scenario file, what replaying an incident would run, or both sides of a failure file."""
    if is_failure(path):
        return prepared_sides(load_failure(path), corpus)[OFF]
    if not is_incident(path):
        return prepare(path, corpus_dir=corpus)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        made.write_text(yaml.safe_dump(scenario_of(load_incident(path)), sort_keys=False), encoding="utf-8")
        try:
            return prepare(made, corpus_dir=corpus)
        except ScenarioError as error:
            document = lines_of(path.read_text(encoding="utf-8"))
            raise ScenarioError(at_source(str(error), made, path, document, source_of)) from error


def print_hint(prepared: Prepared) -> None:
    """Say beforehand why a verdict will be NO DATA: there are no thresholds, or a fault will do nothing."""
    if not prepared.loaded.scenario.thresholds:
        print("hint: no thresholds: the verdict will be NO DATA", flush=True)
    for said in _idle_faults(prepared):
        print(f"hint: {said}, and the verdict will be NO DATA", flush=True)


def _idle_faults(prepared: Prepared) -> Iterator[str]:
    # The last call may go on for so long.
    ends_s = _length_s(prepared) + prepared.loaded.scenario.limits.call_timeout_s
    for due in due_faults(prepared.loaded.scenario, prepared.seed):
        name, begins_s = due.fault.name, due.start_ms / 1000
        if due.fault.filter.share == 0:
            yield f"fault {name}: a share of 0 touches no call"
        elif begins_s >= ends_s:
            yield f"fault {name} begins after {begins_s:g} s, the last call ends after {ends_s:.0f} s at the latest"


def _length_s(prepared: Prepared) -> float:
    """Return for how long calls come."""
    users = prepared.loaded.scenario.load.users
    if prepared.due_ms is not None:
        return prepared.due_ms[-1] / 1000
    return sum(stage.duration_s for stage in users.stages) if users is not None else 0.0


def describe(prepared: Prepared) -> str:
    """Say in a line which calls a checked scenario places."""
    scenario = prepared.loaded.scenario
    n, due = prepared.max_calls, prepared.due_ms
    if due is not None:
        n = len(due)
        load = f"{n} calls within {_length_s(prepared):.0f} s"
    else:
        users = scenario.load.users
        stages = users.stages if users is not None else []
        load = f"up to {max(s.users for s in stages)} callers at once for {_length_s(prepared):g} s"
    shown = range(min(n if n is not None else 100, _SHOWN_CALLS))
    mix = Counter(prepared.planner.plan_for_index(i).caller for i in shown)
    kinds = ", ".join(f"{name} {count}" for name, count in mix.items())
    if len(prepared.targets) > 1:
        to = Counter(prepared.planner.plan_for_index(i).target.name for i in shown)
        kinds += "; calls to " + ", ".join(f"{name} {to[name]}" for name in prepared.targets)
    of = "" if n is not None and n <= _SHOWN_CALLS else f" of the first {len(shown)}"
    return (
        f"{load}; callers{of}: {kinds}; {len(scenario.thresholds)} thresholds; seed {prepared.seed}; "
        f"target {prepared.url}; corpus of {len(prepared.corpus.utterances)} clips"
    )


def schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    print(json.dumps(json_schema(), indent=2))
    return ExitCode.PASSED


def list_folder(options: argparse.Namespace) -> int:
    """List a folder's scenarios with their descriptions; a broken one is named and makes the exit code 104."""
    folder = options.folder
    if not folder.is_dir():
        raise ScenarioError(f"{folder}: no such folder; legal: a folder that holds scenario files (*.yaml)")
    code = ExitCode.PASSED
    for path in sorted(folder.rglob("*.yaml")):
        try:
            if is_incident(path):
                print(f"{path}: incident: {load_incident(path).about.title}")
                continue
            if is_failure(path):
                print(f"{path}: failure mode: {load_failure(path).about.title}")
                continue
            scenario = load_scenario(path).scenario
        except ScenarioError as error:
            print(f"{path}: broken: {str(error).splitlines()[0]}")
            code = ExitCode.BAD_SCENARIO
        else:
            print(f"{path}: {' '.join(scenario.description.split()) or scenario.name}")
    return code
