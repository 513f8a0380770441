"""A fault as it is asked for, and what a run leaves on disk of it.

A fault is a claim in three parts: this is injected, this is what it must visibly do, so fast must things recover. The
words are Chaos Engineering's: steady state, symptom, blast radius. A fault whose evidence stayed at zero was not
injected, whatever else was seen.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum


class Where(StrEnum):
    """What a fault breaks, and with it who carries it out."""

    # How callers behave, and what their side of a call sends.
    CALLER = "caller"
    # What packets go through.
    NETWORK = "network"
    # A stage or resource of the bundled agent, by its admin API.
    TARGET = "target"
    # Processes, TCP hops, and whatever a user's own hook breaks.
    INFRASTRUCTURE = "infrastructure"


class Direction(StrEnum):
    """Which way a symptom moves its metric."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a fault must visibly do: the metric moves at least `by`, in its own unit, from the steady state before."""

    # As a threshold names it, without comparison: "ttfb_ms p95", "response_ratio", "stage_ms{stage:llm} p50".
    metric: str
    direction: Direction
    by: float


@dataclass(frozen=True, slots=True)
class Unmoved:
    """What a fault must leave alone: the metric stays `within` so much of the steady state before."""

    metric: str
    within: float


@dataclass(frozen=True, slots=True)
class FaultFilter:
    """What is touched: this share of the calls, or requests, that fit; an empty tuple fits all."""

    share: float = 1.0
    callers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """True where everything is touched."""
        return self.share >= 1.0 and not self.callers and not self.targets


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, complete and checked (harness/faults/check.py)."""

    # Unique in its run; the value of the tag `fault`.
    name: str
    # A kind of the catalogue, like "stage.delay".
    kind: str
    where: Where
    # After the first instant a call can be due, or after the begin of `phase`.
    start_ms: float = 0.0
    # None = to the end of the run.
    duration_ms: float | None = None
    # Name or number (from 1) of a stage of the load; "" = the run itself.
    phase: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    filter: FaultFilter = FaultFilter()
    # Decides which calls and requests are touched, and every draw of the fault itself.
    seed: int = 0
    symptoms: tuple[Symptom, ...] = ()
    unmoved: tuple[Unmoved, ...] = ()
    # After its end, what moved must be back within this time; None = nothing is claimed.
    recovers_within_ms: float | None = None


class FaultMoment(StrEnum):
    """What a line of faults.jsonl tells."""

    # The run means to inject it; one line for each at the run's begin.
    DECLARED = "declared"
    STARTED = "started"
    # What it has done so far.
    EVIDENCE = "evidence"
    STOPPED = "stopped"
    # It could not be started.
    FAILED = "failed"
    # What undoes it did not work: it may be in force still.
    NOT_UNDONE = "not_undone"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a fault has done so far, as counted where it is done; sums since its start."""

    # Requests delayed, packets dropped, calls changed: nothing but what the fault itself did. 0 = nothing.
    touched: int = 0
    # What `touched` counts, for people.
    what: str = ""
    # Beside it: "seen", "packets_lost", "calls" ...
    counts: dict[str, float] = field(default_factory=dict)
    # The calls touched, where somebody knows their ids.
    calls: tuple[str, ...] = ()
    detail: str = ""

    def __post_init__(self) -> None:
        # JSON would tell whole numbers from others, and those who read it back are strict.
        object.__setattr__(self, "counts", {name: float(value) for name, value in self.counts.items()})


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One line of faults.jsonl."""

    fault: str
    event: FaultMoment
    # CLOCK_MONOTONIC of the host that started the run.
    at_ns: int
    # The same instant by the wall clock: ISO 8601, UTC, ms.
    at: str
    evidence: Evidence | None = None
    # For people: why it failed, why it ended.
    detail: str = ""
    # In "declared", and in "started" of one that somebody started by hand.
    spec: Fault | None = None


def is_chosen(seed: int, fault: str, name: str, share: float) -> bool:
    """Return whether the fault's share takes in the call, or request, of that name; the same for whoever asks."""
    if share >= 1.0:
        return True
    digest = hashlib.sha256(f"{seed}/fault/{fault}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share
