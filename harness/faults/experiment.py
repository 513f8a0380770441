"""Chaos Toolkit experiments (chaostoolkit.org/reference/api/experiment, version 1.0.0) to faults. Pure.

An action is a fault, and the rollback that undoes it belongs to it (experiment_rollbacks.py). What an experiment asks
of probes is not a fault and is told as left out: a run has thresholds for it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters, parameters_from_words
from harness.faults.command_line import fault_from, read_words
from harness.faults.experiment_hooks import hook_of, words_of
from harness.faults.experiment_rollbacks import OURS, paired
from harness.faults.experiment_toxiproxy import toxic_of
from harness.model.errors import ScenarioError

_START = [OURS, "fault", "start"]


class ExperimentError(ValueError):
    """A part of an experiment that is no fault here, or a fault that no experiment can hold; says which and why."""


@dataclass(slots=True)
class Imported:
    """Faults as a scenario's `faults` has them, and what of the experiment they do not hold."""

    title: str
    faults: list[dict[str, Any]] = field(default_factory=list)
    # Probes, and where things are: nothing is lost of what is done.
    left_out: list[str] = field(default_factory=list)
    # Actions and rollbacks: without them it is another experiment.
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Configuration:
    """What ${NAME} stands for in an experiment."""

    # What comes from the environment stays a ${VARIABLE}, which hooks know as well.
    values: dict[str, Any]
    # Those variables, with the default that a scenario cannot have; None = they have none.
    variables: dict[str, Any]


def faults_of(experiment: Any, start_s: float = 0.0) -> Imported:
    """Return an experiment's faults, its method begun at `start_s` of the run. Raises ExperimentError for none.

    As the Toolkit has it, an action in the background keeps nobody waiting: both its pauses are its own, and the next
    activity begins with it.
    """
    if not isinstance(experiment, Mapping) or not isinstance(experiment.get("method"), list):
        raise ExperimentError("no Chaos Toolkit experiment: it needs `title`, `description` and `method`, a list")
    configuration = _configuration(experiment.get("configuration") or {})
    found = Imported(str(experiment.get("title", "")))
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    found.left_out += [f"steady-state-hypothesis: probe {_name(one)!r}" for one in hypothesis.get("probes") or ()]
    method = _filled(experiment["method"], configuration.values)
    rollbacks = _filled(list(experiment.get("rollbacks") or ()), configuration.values)
    backs, problems = paired([_provider(one) for one in method], [(_name(one), _provider(one)) for one in rollbacks])
    clock_s = start_s
    for place, activity in enumerate(method):
        pauses = activity.get("pauses") or {}
        at_s = clock_s + float(pauses.get("before") or 0)
        lasts_s = 0.0
        if "ref" in activity or activity.get("type") == "probe":
            found.left_out.append(f"method: probe {_name(activity)!r}")
        else:
            lasts_s = _take(activity, at_s, backs.get(place), configuration, found)
        if not activity.get("background"):
            clock_s = at_s + lasts_s + float(pauses.get("after") or 0)
    found.unknown += problems
    return found


def _take(
    activity: Mapping[str, Any],
    at_s: float,
    back: Mapping[str, Any] | None,
    configuration: _Configuration,
    found: Imported,
) -> float:
    """Take an action as a fault; return how long it keeps what follows it waiting, in s, as far as that is known."""
    try:
        fault, lasts_s = _fault_of(activity, back, configuration, found)
    except (ValueError, ScenarioError) as error:
        found.unknown.append(f"method: {_name(activity)!r}: {error}")
        return 0.0
    fault["start_s"] = at_s
    names = {one["name"] for one in found.faults}
    base = fault["name"] = fault.get("name") or _safe(_name(activity))
    number = 1
    while fault["name"] in names:
        number += 1
        fault["name"] = f"{base}-{number}"
    found.faults.append(fault)
    return lasts_s


def _fault_of(
    activity: Mapping[str, Any], back: Mapping[str, Any] | None, configuration: _Configuration, found: Imported
) -> tuple[dict[str, Any], float]:
    provider = _provider(activity)
    match provider.get("type"):
        case "process" if words_of(provider)[:3] == _START:
            return _ours(words_of(provider)[3:], found)
        case "process" | "http":
            kind, parameters = hook_of(provider, back, configuration.variables)
            _tell_defaults(parameters, configuration, found)
            return _checked(kind, parameters), 0.0
        case "python":
            return _checked(*toxic_of(provider, configuration.values)), 0.0
    raise ExperimentError(f"provider.type {provider.get('type')!r}; legal here: process, http, python (chaostoxi)")


def _ours(words: list[str], found: Imported) -> tuple[dict[str, Any], float]:
    """Return the fault that our own command line asks for (experiment_export.py), and how long that takes."""
    options = read_words(words)
    asked = fault_from(options)
    fault: dict[str, Any] = {"kind": asked.kind}
    if parameters := parameters_from_words(KINDS[asked.kind], options.parameters):
        fault["parameters"] = parameters
    lasts_s = None if asked.duration_ms is None else asked.duration_ms / 1000
    if lasts_s is not None:
        fault["duration_s"] = lasts_s
    if options.name:
        fault["name"] = options.name
    if asked.filter.share < 1:
        fault["filter"] = {"share": asked.filter.share}
    if asked.seed:
        fault["seed"] = asked.seed
    for option in ("--admin", "--target"):
        if option in words:
            _once(
                found.left_out, f"{option} {getattr(options, option[2:])}: a scenario's `admin` or `target` says that"
            )
    return fault, 0.0 if options.keep or lasts_s is None else lasts_s


def _checked(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    _, problems = check_parameters(KINDS[kind], parameters)
    if problems:
        place, said = problems[0]
        raise ExperimentError(f"{kind}: {'.'.join(map(str, place))}: {said}")
    return {"kind": kind, "parameters": parameters} if parameters else {"kind": kind}


# --- names and values ---------------------------------------------------------------------------------------------


def _configuration(said: Mapping[str, Any]) -> _Configuration:
    values: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    for name, value in said.items():
        if isinstance(value, Mapping) and value.get("type") == "env":
            values[name] = f"${{{value['key']}}}"
            variables[str(value["key"])] = value.get("default")
        elif isinstance(value, str | int | float):
            values[name] = value
    return _Configuration(values, variables)


def _tell_defaults(parameters: Mapping[str, Any], configuration: _Configuration, found: Imported) -> None:
    said = json.dumps(parameters)
    for variable, default in configuration.variables.items():
        if default is not None and f"${{{variable}}}" in said:
            _once(
                found.left_out,
                f"configuration: the default of {variable}, {default!r}; set it where the run is started",
            )


def _once(lines: list[str], line: str) -> None:
    if line not in lines:
        lines.append(line)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a part of an experiment with its ${NAME}s filled in, by the rules that the Toolkit has from Python."""
    if isinstance(value, Mapping):
        return {key: _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    # A name alone keeps its value's type.
    alone = Template.pattern.fullmatch(value)
    name = (alone["named"] or alone["braced"] or "") if alone is not None else ""
    return values[name] if name in values else Template(value).safe_substitute(values)


def _provider(activity: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (activity.get("provider") or {}) if isinstance(activity, Mapping) else {}
    return found


def _name(activity: Any) -> str:
    return str(activity.get("name") or activity.get("ref") or "") if isinstance(activity, Mapping) else str(activity)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:60] or "fault"
