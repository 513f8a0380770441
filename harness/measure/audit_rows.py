"""What a leak audit says, row by row, and what it has to know of the run besides its samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.measure.generator_health import HealthPoint
from harness.measure.injections import Injection
from harness.model.audit_sample import Side


class Check(StrEnum):
    """What was looked at."""

    GROWTH = "growth"
    REST = "rest"
    ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One judgement; `is_kept` None = it could not be told, `why` says why."""

    side: Side
    process: str
    pid: int
    quantity: str
    check: Check
    # GROWTH: stretches with samples. REST: samples after the load.
    n: int
    # GROWTH: per hour, with its interval. REST: left over.
    value: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    # GROWTH: medians of the first and last stretch. REST: before the first call, and last.
    first: float | None = None
    last: float | None = None
    is_kept: bool | None = None
    why: str = ""
    # The process was there at the end, so that what could not be told of it was not told.
    is_needed: bool = True

    @property
    def name(self) -> str:
        """Whose and what, for people."""
        whose = self.process if self.side is Side.TARGET else f"{self.process} (our own)"
        return f"{whose}, pid {self.pid}: {self.quantity}" if self.pid else f"{whose}: {self.quantity}"


@dataclass(frozen=True, slots=True)
class Load:
    """What was going on beside: calls up by time, the first instant a call could be due, and faults."""

    health: Sequence[HealthPoint] = ()
    first_due_ns: int | None = None
    faults: Sequence[Injection] = ()
