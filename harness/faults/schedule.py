"""Which fault is due when: start and end on the run's own clock. Pure; time is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.fault import Fault


@dataclass(frozen=True, slots=True)
class Due:
    """A fault and when it is in force, in ms after the first instant a call can be due; None = to the run's end."""

    fault: Fault
    start_ms: float
    end_ms: float | None


@dataclass(frozen=True, slots=True)
class Phase:
    """A stage of the load, by number (from 1) and name ("" = it has none)."""

    number: int
    name: str
    start_ms: float
    end_ms: float


def phases_of(durations_ms: Sequence[float], names: Sequence[str]) -> list[Phase]:
    """Return the stages of a load one after another."""
    found, begin = [], 0.0
    for number, (duration_ms, name) in enumerate(zip(durations_ms, names, strict=True), start=1):
        found.append(Phase(number, name, begin, begin + duration_ms))
        begin += duration_ms
    return found


def phase_named(phases: Sequence[Phase], name: str) -> Phase:
    """Return the phase of that name or number. Raises ValueError with the legal ones."""
    for phase in phases:
        if name in (phase.name, str(phase.number)):
            return phase
    legal = ", ".join(f"{phase.number}" + (f" ({phase.name})" if phase.name else "") for phase in phases)
    raise ValueError(f"got {name!r}; legal: {legal or 'none, for this load has no stages'}")


def due_of(fault: Fault, phases: Sequence[Phase]) -> Due:
    """Return when a fault is due. One of a phase without a duration of its own ends with the phase."""
    begin, end = 0.0, None
    if fault.phase:
        phase = phase_named(phases, fault.phase)
        begin, end = phase.start_ms, phase.end_ms
    start_ms = begin + fault.start_ms
    return Due(fault, start_ms, end if fault.duration_ms is None else start_ms + fault.duration_ms)
