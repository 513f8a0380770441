"""Chaos Toolkit experiments (chaostoolkit.org/reference/api/experiment, version 1.0.0) to faults. Pure.

An action is a fault, the rollback that undoes it belongs to it: an experiment's are taken in their order, one for each
action. What an experiment asks of probes is not a fault and is told as left out: a run has thresholds for it.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters, parameters_from_words
from harness.faults.experiment_toxiproxy import toxic_of, undoes_toxic

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
OURS = "callquake"


class ExperimentError(ValueError):
    """A part of an experiment that is no fault here; says which and why."""


@dataclass(slots=True)
class Imported:
    """Faults as a scenario's `faults` has them, and what of the experiment they do not hold."""

    title: str
    faults: list[dict[str, Any]] = field(default_factory=list)
    # Probes: nothing is lost of what is done.
    left_out: list[str] = field(default_factory=list)
    # Actions and rollbacks: without them it is another experiment.
    unknown: list[str] = field(default_factory=list)


def faults_of(experiment: Any, start_s: float = 0.0) -> Imported:
    """Return an experiment's faults, the first at `start_s` of the run. Raises ExperimentError for no experiment."""
    if not isinstance(experiment, Mapping) or not isinstance(experiment.get("method"), list):
        raise ExperimentError("no Chaos Toolkit experiment: it needs `title`, `description` and `method`, a list")
    values = _configuration(experiment.get("configuration") or {})
    found = Imported(str(experiment.get("title", "")))
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    found.left_out += [f"steady-state-hypothesis: probe {_name(one)!r}" for one in hypothesis.get("probes") or ()]
    rollbacks = [_filled(one, values) for one in experiment.get("rollbacks") or ()]
    at_s = start_s
    for activity in _filled(experiment["method"], values):
        if "ref" in activity or activity.get("type") == "probe":
            found.left_out.append(f"method: probe {_name(activity)!r}")
            continue
        pauses = activity.get("pauses") or {}
        at_s += float(pauses.get("before", 0) or 0)
        _take(activity, at_s, rollbacks, found)
        at_s += float(pauses.get("after", 0) or 0)
    found.unknown += [f"rollbacks: {_name(one)!r}: there is no action left that it undoes" for one in rollbacks]
    return found


def _take(activity: Mapping[str, Any], at_s: float, rollbacks: list[Any], found: Imported) -> None:
    try:
        fault = _fault_of(activity, rollbacks)
    except (ExperimentError, ValueError) as error:
        found.unknown.append(f"method: {_name(activity)!r}: {error}")
        return
    fault["start_s"] = at_s
    names = {one["name"] for one in found.faults}
    base = fault["name"] = fault.get("name") or _safe(_name(activity))
    number = 1
    while fault["name"] in names:
        number += 1
        fault["name"] = f"{base}-{number}"
    found.faults.append(fault)


def _fault_of(activity: Mapping[str, Any], rollbacks: list[Any]) -> dict[str, Any]:
    provider = activity.get("provider") or {}
    match provider.get("type"):
        case "process":
            words = _words(provider)
            if words[:3] == [OURS, "fault", "start"]:
                return _ours(words[3:], rollbacks)
            return _command(words, provider, rollbacks)
        case "http":
            return _http(provider, rollbacks)
        case "python":
            fault = _checked(*toxic_of(provider))
            if rollbacks and undoes_toxic(rollbacks[0].get("provider") or {}):
                rollbacks.pop(0)
            return fault
    raise ExperimentError(f"provider.type {provider.get('type')!r}; legal here: process, http, python (chaostoxi)")


# --- providers ----------------------------------------------------------------------------------------------------


def _command(words: list[str], provider: Mapping[str, Any], rollbacks: list[Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"command": shlex.join(words)}
    if provider.get("timeout"):
        parameters["timeout_s"] = float(provider["timeout"])
    if (back := _next(rollbacks, "process")) is not None:
        parameters["revert"] = shlex.join(_words(back))
    return _checked("hook.command", parameters)


def _http(provider: Mapping[str, Any], rollbacks: list[Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"url": provider["url"], "method": str(provider.get("method", "GET")).upper()}
    if headers := provider.get("headers"):
        parameters["headers"] = [f"{name}: {value}" for name, value in headers.items()]
    body = provider.get("arguments")
    if body:
        parameters["body"] = body if isinstance(body, str) else json.dumps(body)
    if (back := _next(rollbacks, "http")) is not None:
        if back.get("arguments"):
            raise ExperimentError("its rollback has a body, which a revert by hook.http cannot have")
        parameters |= {"revert_url": back["url"], "revert_method": str(back.get("method", "GET")).upper()}
    return _checked("hook.http", parameters)


def _ours(words: list[str], rollbacks: list[Any]) -> dict[str, Any]:
    """Return the fault that our own command line asks for, as experiment_export.py writes it."""
    options = {"--for": "", "--name": "", "--share": "", "--seed": "", "--admin": "", "--target": "", "--run": ""}
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word in options and queue:
            options[word] = queue.pop(0)
        elif not word.startswith("--"):
            rest.append(word)
    kind = KINDS.get(rest[0]) if rest else None
    if kind is None:
        raise ExperimentError(f"callquake fault start {rest[0] if rest else ''}: no such kind")
    fault = _checked(kind.name, parameters_from_words(kind, rest[1:]))
    if options["--for"]:
        fault["duration_s"] = float(options["--for"].removesuffix("s"))
    if options["--name"]:
        fault["name"] = options["--name"]
    if options["--share"]:
        fault["filter"] = {"share": float(options["--share"])}
    if options["--seed"]:
        fault["seed"] = int(options["--seed"])
    if rollbacks and _words(rollbacks[0].get("provider") or {})[:3] == [OURS, "fault", "stop"]:
        rollbacks.pop(0)
    return fault


def _checked(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    _, problems = check_parameters(KINDS[kind], parameters)
    if problems:
        place, said = problems[0]
        raise ExperimentError(f"{kind}: {'.'.join(map(str, place))}: {said}")
    return {"kind": kind, "parameters": parameters} if parameters else {"kind": kind}


def _next(rollbacks: list[Any], type_: str) -> Mapping[str, Any] | None:
    """Return the next rollback's provider, taken, where it is of the action's own kind; None where there is none."""
    provider = (rollbacks[0].get("provider") or {}) if rollbacks else {}
    if provider.get("type") != type_:
        return None
    rollbacks.pop(0)
    taken: Mapping[str, Any] = provider
    return taken


def _words(provider: Mapping[str, Any]) -> list[str]:
    """Return the words of a process provider: `arguments` is text, a list, or options with their values."""
    if "path" not in provider:
        return []
    arguments = provider.get("arguments") or []
    if isinstance(arguments, str):
        arguments = shlex.split(arguments)
    elif isinstance(arguments, Mapping):
        arguments = [str(part) for pair in arguments.items() for part in pair if part not in ("", None)]
    return [str(provider["path"]), *map(str, arguments)]


# --- names and values ---------------------------------------------------------------------------------------------


def _configuration(said: Mapping[str, Any]) -> dict[str, str]:
    """Return what ${NAME} stands for; what comes from the environment stays a ${VARIABLE}, which hooks know as well."""
    found = {}
    for name, value in said.items():
        is_named = isinstance(value, Mapping) and value.get("type") == "env"
        found[name] = f"${{{value['key']}}}" if is_named else value
    return {name: str(value) for name, value in found.items() if isinstance(value, str | int | float)}


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), value)
    return value


def _name(activity: Any) -> str:
    return str(activity.get("name") or activity.get("ref") or "") if isinstance(activity, Mapping) else str(activity)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:60] or "fault"
