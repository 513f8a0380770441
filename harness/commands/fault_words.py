"""What `callquake fault` says: kinds, one kind in full, steps of a fault, entries of the journal."""

import json
import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from harness.faults import engine_fault
from harness.faults.journal import Entry
from harness.faults.kind import Kind
from harness.faults.parameter import Parameter
from harness.model.fault import Evidence, FaultEvent, FaultMoment, Where

_WIDTH = 100
# Of an example whose parameter is a share: all of it would be another fault.
_SOME_RATIO = 0.1
_SIDES = {
    Where.CALLER: "caller: how callers behave, on any target",
    Where.NETWORK: "network: what packets go through, on any target",
    Where.TARGET: "target: stages and resources of the bundled agent",
    Where.INFRASTRUCTURE: "infrastructure: processes, TCP hops, hooks of your own",
}


def listing(kinds: Iterable[Kind], where: str | None) -> Iterator[str]:
    """Yield the kinds by side, a line each."""
    there = list(kinds)
    width = max(len(kind.name) for kind in there)
    for side in Where:
        found = [kind for kind in there if kind.where is side]
        if not found or where not in (None, side.value):
            continue
        yield _SIDES[side]
        yield from (f"  {kind.name:<{width}}  {kind.about}" for kind in found)
        yield ""
    yield "callquake fault describe KIND tells its parameters and gives an example"


def description(kind: Kind) -> Iterator[str]:
    """Yield everything about one kind, with an example to copy."""
    yield f"{kind.name} ({kind.where.value})"
    yield from _block("", kind.about)
    yield ""
    yield "parameters" + ("" if kind.parameters else ": none")
    for parameter in kind.parameters:
        yield from _parameter(parameter)
    yield from _block("filter", ", ".join(kind.filters) or "none: it has no calls to choose from")
    yield from _block("evidence", kind.evidence)
    yield from _block("undone", kind.reverts)
    if kind.needs:
        yield from _block("needs", kind.needs)
    yield ""
    yield "in a scenario"
    yield from _yaml(kind)
    yield ""
    words = [f"{name}={_word(value)}" for name, value in example_of(kind).items()]
    # What engines carry out has no calls to act on but a run's.
    run = ["--run", "reports/RUN"] if kind.make is engine_fault.make else []
    yield "by hand" + (", in a run that goes on" if run else "")
    yield "  " + shlex.join(["callquake", "fault", "start", kind.name, *words, "--for", "30s", *run])


def _block(title: str, text: str) -> list[str]:
    first = f"{title:<10}" if title else ""
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first)) or [first]


def _parameter(parameter: Parameter) -> Iterator[str]:
    given = "required" if parameter.is_required else f"default {_word(parameter.default)}"
    if not parameter.is_required and parameter.default is None:
        given = "may be left out"
    yield f"  {parameter.name}: {parameter.about}"
    yield f"      {given}; legal: {parameter.legal()}"


def example_of(kind: Kind) -> dict[str, Any]:
    """Return parameters that are legal together."""
    if kind.example:
        return dict(kind.example)
    return {parameter.name: _some(parameter) for parameter in kind.parameters if parameter.is_required}


def _some(parameter: Parameter) -> Any:
    match parameter.type:
        case "choice":
            return parameter.choices[0]
        case "number" | "whole":
            likely = 500 if parameter.name.endswith("_ms") else 2 if parameter.high > 1 else _SOME_RATIO
            return max(parameter.low, min(parameter.high, likely))
        case "flag":
            return True
        case "texts":
            return ["a"]
        case _:
            return "text"


def _yaml(kind: Kind) -> Iterator[str]:
    inner = ", ".join(f"{name}: {_flow(value)}" for name, value in example_of(kind).items())
    yield "  faults:"
    yield f"    - kind: {kind.name}"
    yield "      start_s: 30"
    yield "      duration_s: 30"
    if inner:
        yield f"      parameters: {{{inner}}}"
    for symptom in kind.symptoms:
        said = f"metric: {symptom.metric}, direction: {symptom.direction.value}, by: {symptom.by:g}"
        yield f"      symptoms: [{{{said}}}]"
    if kind.unmoved:
        alone = ", ".join(f"{{metric: {one.metric}, within: {one.within:g}}}" for one in kind.unmoved)
        yield f"      unmoved: [{alone}]"


def _flow(value: Any) -> str:
    """Return a value as YAML's flow style writes it, which JSON is a part of."""
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", value)
    return str(value) if is_word else json.dumps(list(value) if isinstance(value, tuple) else value)


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_json(kind: Kind) -> str:
    """Return the same for programs."""
    told = {
        "name": kind.name,
        "where": kind.where.value,
        "about": kind.about,
        "parameters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {parameter.name: parameter.schema() for parameter in kind.parameters},
            "required": [parameter.name for parameter in kind.parameters if parameter.is_required],
        },
        "filters": list(kind.filters),
        "evidence": kind.evidence,
        "reverts": kind.reverts,
        "needs": kind.needs,
        "example": example_of(kind),
    }
    return json.dumps(told, indent=2)


def event_words(event: FaultEvent) -> str:
    """Return a step of a fault as a line."""
    told = evidence_words(event.evidence) if event.evidence is not None else ""
    match event.event:
        case FaultMoment.STARTED:
            return f"{event.fault}: in force since {event.at}"
        case FaultMoment.EVIDENCE:
            return f"{event.fault}: {told}"
        case FaultMoment.STOPPED:
            nothing = " It touched nothing: not injected." if event.evidence and not event.evidence.touched else ""
            return f"{event.fault}: over since {event.at}; {told}.{nothing}"
        case FaultMoment.FAILED:
            return f"{event.fault}: {event.detail}"
        case FaultMoment.NOT_UNDONE:
            return f"{event.fault}: not undone: {event.detail}"
        case _:
            return ""


def evidence_words(evidence: Evidence) -> str:
    """Return what a fault has done, for people."""
    counts = ", ".join(f"{name} {value:g}" for name, value in evidence.counts.items())
    inside = ", ".join(part for part in (counts, evidence.detail) if part)
    return f"{evidence.what or 'touched'} {evidence.touched}" + (f" ({inside})" if inside else "")


def entry_lines(entry: Entry, whose: str) -> list[str]:
    """Return an entry of the journal as lines."""
    undone = "; ".join(dict.fromkeys(revert.about for revert in entry.reverts))
    return [f"{entry.id}  {entry.kind}  since {entry.started_at}", f"    {whose}", f"    undoes {undone}"]
