"""`callquake fault import | export`: Chaos Toolkit experiments to a scenario's faults and back."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from harness.exit_codes import ExitCode
from harness.faults.experiment import ExperimentError, faults_of
from harness.faults.experiment_export import experiment_of
from harness.model.errors import ScenarioError
from harness.model.fault import Fault
from harness.scenario.faults import due_faults, problems_of_faults, problems_with_admin
from harness.scenario.loader import load_scenario
from harness.scenario.schema import Scenario

# Of a fault that lasts to the run's end, in an experiment that has no run.
_LENGTH_S = 60.0


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both actions."""
    importing = actions.add_parser(
        "import",
        help="a Chaos Toolkit experiment, as the faults of a scenario",
        description="Prints the experiment's actions and rollbacks as a scenario's `faults`. Its probes are left out: "
        "thresholds and symptoms do their work.",
    )
    importing.add_argument("experiment", type=Path, metavar="EXPERIMENT", help="JSON or YAML")
    importing.add_argument("--into", type=Path, metavar="FILE", help="write there instead of printing")
    importing.add_argument(
        "--start-s", type=float, default=30.0, metavar="N", help="when its method begins (%(default)g)"
    )
    importing.add_argument("--partly", action="store_true", help="also where some of its actions are no fault here")
    importing.set_defaults(call=import_experiment)
    exporting = actions.add_parser("export", help="a scenario's faults, as a Chaos Toolkit experiment")
    exporting.add_argument("scenario", type=Path, metavar="SCENARIO", help="scenario file (YAML) with `faults`")
    exporting.add_argument("--into", type=Path, metavar="FILE", help="write there instead of printing")
    exporting.set_defaults(call=export_experiment)


def import_experiment(options: argparse.Namespace) -> int:
    """Print an experiment's faults."""
    try:
        text = options.experiment.read_text(encoding="utf-8")
        # JSON is YAML, too.
        found = faults_of(yaml.safe_load(text), options.start_s)
    except (OSError, yaml.YAMLError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise ScenarioError(f"{options.experiment}: {error}") from error
    for line in found.left_out:
        print(f"left out: {line}", file=sys.stderr)
    for line in found.unknown:
        print(f"no fault here: {line}", file=sys.stderr)
    if found.unknown and not options.partly:
        raise ScenarioError(
            f"{options.experiment}: {len(found.unknown)} of its actions have no fault here; legal: --partly"
        )
    faults = [{"name": fault.pop("name"), **fault} for fault in found.faults]
    body = yaml.safe_dump({"faults": faults}, sort_keys=False, allow_unicode=True)
    _put(options.into, f"# {found.title}\n{body}")
    return ExitCode.PASSED


def export_experiment(options: argparse.Namespace) -> int:
    """Print a scenario's faults as an experiment."""
    loaded = load_scenario(options.scenario)
    scenario = loaded.scenario
    found = [*problems_of_faults(scenario), *problems_with_admin(scenario, _urls(scenario), {})]
    problems = [loaded.problem(place, said) for place, said in found if place != ("admin", "token")]
    if problems or not scenario.faults:
        raise ScenarioError("\n".join(problems) or f"{options.scenario}: it has no `faults`")
    faults = [_settled(due.fault, due.start_ms, due.end_ms) for due in due_faults(scenario, scenario.seed)]
    admin = "" if scenario.admin is None else scenario.admin.url
    try:
        experiment = experiment_of(faults, scenario.name, _target(scenario), _LENGTH_S, admin)
    except ExperimentError as error:
        raise ScenarioError(f"{options.scenario}: {error}") from error
    _put(options.into, json.dumps(experiment, indent=2) + "\n")
    return ExitCode.PASSED


def _settled(fault: Fault, start_ms: float, end_ms: float | None) -> Fault:
    """Return a fault with its times counted from the run's begin."""
    return replace(fault, start_ms=start_ms, duration_ms=None if end_ms is None else end_ms - start_ms, phase="")


def _target(scenario: Scenario) -> str:
    """Return the address of the scenario's first target."""
    return next(iter(_urls(scenario)), "")


def _urls(scenario: Scenario) -> list[str]:
    return [str(target.url) for target in scenario.named_targets.values() if target.url]


def _put(path: Path | None, text: str) -> None:
    if path is None:
        print(text, end="")
    else:
        path.write_text(text, encoding="utf-8")
