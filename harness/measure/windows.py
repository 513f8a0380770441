"""Stretches of a run by name: while a fault was in force, and the stages of the load.

A turn lies in a stretch when its user stopped speaking within it; a call's set-up when the call began within it, its
end when it ended within it. Stretches are half open: their end is no part of them. Before a stretch lies what was over
by its beginning; a turn that its beginning met unanswered is in neither.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.measure.injections import Injection
from harness.model.clock import NS_PER_MS, NS_PER_S

FAULT, PHASE = "fault", "phase"
KINDS = (FAULT, PHASE)
DURING, BEFORE, AFTER = "during", "before", "after"
RELATIONS = (DURING, BEFORE, AFTER)
# A span of time on the run's axis, ns.
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch; `spans` are one or more, ascending. Empty = it never came to be, `why` says why."""

    kind: str
    names: tuple[str, ...]
    spans: tuple[Span, ...]
    # By how much "after" begins behind its end: what the fault claims to need to heal.
    settle_ns: float = 0.0
    why: str = ""

    def related(self, relation: str) -> tuple[Span, ...]:
        """Return the spans that stand `relation` to this one."""
        if not self.spans:
            return ()
        if relation == BEFORE:
            return ((-math.inf, self.spans[0][0]),)
        if relation == AFTER:
            return ((self.spans[-1][1] + self.settle_ns, math.inf),) if self.spans[-1][1] < math.inf else ()
        return self.spans


def fault_windows(injections: Iterable[Injection]) -> list[Window]:
    """Return a window for each fault, from its start to its end; without spans where it did nothing."""
    return [_of_fault(one) for one in injections]


def _of_fault(one: Injection) -> Window:
    start, end = one.started_at_ns, one.stopped_at_ns
    spans = ((float(start), math.inf if end is None else float(end)),) if start is not None and one.is_injected else ()
    why = "" if spans else f"fault {one.fault.name} was not injected: {one.why_not}"
    return Window(FAULT, (one.fault.name,), spans, (one.fault.recovers_within_ms or 0.0) * NS_PER_MS, why)


def phase_windows(scenario: Mapping[str, Any], first_due_ns: int | None) -> list[Window]:
    """Return a window for each stage of the load, by number (from 1) and name; from the first instant a call is due."""
    found: list[Window] = []
    at = 0.0
    for number, stage in enumerate(stages_of(scenario), 1):
        name, length_s = stage.get("name"), stage.get("duration_s")
        length_ns = length_s * NS_PER_S if isinstance(length_s, int | float) else math.inf
        names = (str(number), *([str(name)] if name else []))
        spans = ((first_due_ns + at, first_due_ns + at + length_ns),) if first_due_ns is not None else ()
        found.append(Window(PHASE, names, spans, why="" if spans else "the run did not begin to place calls"))
        at += length_ns
    return found


def stages_of(scenario: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the stages of a scenario's load, of a load without stages the whole of it."""
    load = scenario.get("load")
    for key in ("arrivals", "users"):
        said = load.get(key) if isinstance(load, Mapping) else None
        if isinstance(said, Mapping):
            stages = said.get("stages")
            return [s for s in stages if isinstance(s, Mapping)] if isinstance(stages, list) else [said]
    return []


def find(windows: Iterable[Window], kind: str, name: str) -> Window | None:
    """Return the window of that name; faults of one name are one window with several spans."""
    same = [window for window in windows if window.kind == kind and name in window.names]
    if len(same) < 2:
        return same[0] if same else None
    spans = tuple(sorted(span for window in same for span in window.spans))
    return Window(kind, (name,), spans, max(w.settle_ns for w in same), "; ".join(w.why for w in same if w.why))


def lies(spans: Sequence[Span], relation: str, at_ns: float, known_ns: float) -> bool:
    """Return whether what happened at `at_ns`, and was over at `known_ns`, lies in the spans of that relation.

    Before a stretch lies only what was over when it began: an answer that is still awaited then may be its doing.
    """
    return holds(spans, at_ns) and (relation != BEFORE or holds(spans, known_ns))


def holds(spans: Iterable[Span], at_ns: float) -> bool:
    """Return whether an instant lies in one of `spans`."""
    return any(start <= at_ns < end for start, end in spans)
