"""What became of a run's faults: each injected or not, from when to when, and by what evidence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment

_NOTHING = Evidence()


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault of a run. It was in force from `started_at_ns` to `stopped_at_ns`; None = not, or to the run's end."""

    fault: Fault
    started_at_ns: int | None
    stopped_at_ns: int | None
    evidence: Evidence
    # Why it could not be started; "" = it was, or was never due.
    failure: str = ""
    # Why it may be in force still; "" = it was undone, or there was nothing to undo.
    not_undone: str = ""

    @property
    def is_injected(self) -> bool:
        """Whether it did anything at all."""
        return self.started_at_ns is not None and self.evidence.touched > 0

    @property
    def why_not(self) -> str:
        """Why it counts as not injected, for people; "" where it was injected."""
        if self.is_injected:
            return ""
        if self.started_at_ns is None:
            return self.failure or "the run ended before it was due"
        seen = self.evidence.counts.get("seen")
        of = f" of {seen:g} seen" if seen is not None else ""
        told = self.evidence.detail or self.failure
        return f"it started, but {self.evidence.what or 'what it does'}: 0{of}" + (f" ({told})" if told else "")


def injections_of(events: Iterable[FaultEvent]) -> list[Injection]:
    """Return the run's faults in the order in which they were first told; events of faults never specified are none.

    A fault that was stopped and started again under one name counts from its first start to its last end.
    """
    by_name: dict[str, list[FaultEvent]] = {}
    for event in events:
        by_name.setdefault(event.fault, []).append(event)
    return [found for told in by_name.values() if (found := _injection(told)) is not None]


def _injection(events: Sequence[FaultEvent]) -> Injection | None:
    fault = next((event.spec for event in events if event.spec is not None), None)
    if fault is None:
        return None
    started = [event.at_ns for event in events if event.event is FaultMoment.STARTED]
    ended = [event.at_ns for event in events if event.event is FaultMoment.STOPPED]
    evidence = [event.evidence for event in events if event.evidence is not None]
    failures = [event.detail for event in events if event.event is FaultMoment.FAILED]
    not_undone = [event.detail for event in events if event.event is FaultMoment.NOT_UNDONE]
    return Injection(
        fault=fault,
        started_at_ns=min(started, default=None),
        stopped_at_ns=max(ended, default=None),
        # What is counted only grows; of those that touched as many, the last one tells the most.
        evidence=max(reversed(evidence), key=lambda told: told.touched, default=_NOTHING),
        failure="; ".join(failures),
        not_undone="; ".join(not_undone),
    )
