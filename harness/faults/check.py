"""What a fault is asked to be, checked against its kind: problems are told with their place, all at once."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.faults.catalogue import kind_named
from harness.faults.kind import Kind
from harness.model.fault import FaultFilter

# Where in the fault, and what is wrong with it.
Problem = tuple[tuple[str | int, ...], str]


def check_parameters(kind: Kind, raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the parameters in their own types, defaults filled in, and every problem."""
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for parameter in kind.parameters:
        if raw.get(parameter.name) is None:
            if parameter.is_required:
                what = f"{kind.name} needs it: {parameter.about}; legal: {parameter.legal()}"
                problems.append((("parameters", parameter.name), f"missing; {what}"))
            elif parameter.default is not None:
                found[parameter.name] = parameter.default
            continue
        try:
            found[parameter.name] = parameter.check(raw[parameter.name])
        except ValueError as error:
            problems.append((("parameters", parameter.name), str(error)))
    problems += _unknown(kind, raw)
    if not problems and (wrong := kind.rule(found)):
        problems.append((("parameters",), wrong))
    return found, problems


def _unknown(kind: Kind, raw: Mapping[str, Any]) -> list[Problem]:
    legal = [parameter.name for parameter in kind.parameters]
    problems: list[Problem] = []
    for name in raw:
        if name not in legal:
            near = difflib.get_close_matches(name, legal, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            said = f"{kind.name} has no such parameter; legal: {', '.join(legal) or 'none'}{hint}"
            problems.append((("parameters", name), said))
    return problems


def check_filter(kind: Kind, chosen: FaultFilter) -> list[Problem]:
    """Return what of the filter means nothing to this kind."""
    given = {"share": chosen.share < 1.0, "callers": bool(chosen.callers), "targets": bool(chosen.targets)}
    legal = ", ".join(kind.filters) or "no filter"
    return [
        (("filter", name), f"{kind.name} cannot choose by {name}; legal: {legal}")
        for name, is_given in given.items()
        if is_given and name not in kind.filters
    ]


def parameters_from_words(kind: Kind, words: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that words like `delay_ms=800` say, unchecked. Raises ValueError."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise ValueError(f"got {word!r}; legal: NAME=VALUE, like {_example(kind)}")
        parameter = kind.parameter(name)
        found[name] = value if parameter is None else parameter.read(value)
    return found


def _example(kind: Kind) -> str:
    return f"{kind.parameters[0].name}=..." if kind.parameters else "nothing: it has no parameters"


def check_kind(name: object) -> tuple[Kind | None, list[Problem]]:
    """Return the kind of that name, or what is wrong with the name."""
    try:
        return kind_named(name), []
    except ValueError as error:
        return None, [(("kind",), str(error))]
