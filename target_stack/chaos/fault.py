"""A fault at work in this agent: whom it touches, what it has counted, what every kind of fault offers."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harness.model.clock import NS_PER_S
from harness.model.fault import is_chosen

STAGES = ("stt", "llm", "tts")
# Names of calls that are told; beyond them only their number grows.
_MOST_CALLS = 1_000


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """What the admin API was asked for, its shape checked; the kind checks the parameters."""

    id: str
    kind: str
    parameters: dict[str, Any]
    share: float
    seed: int
    lease_s: float


@dataclass(slots=True)
class Tally:
    """What a fault has counted. `seen`: requests that passed it; `touched`: those it did something to."""

    seen: int = 0
    touched: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    calls: dict[str, None] = field(default_factory=dict)
    # What the fault itself ran into.
    detail: str = ""

    def touch(self, call_id: str = "", **counts: float) -> None:
        """Count one request that the fault did something to."""
        self.touched += 1
        if call_id and len(self.calls) < _MOST_CALLS:
            self.calls[call_id] = None
        for name, value in counts.items():
            self.counts[name] += value  # type: ignore[assignment]  # a Counter holds what is added to it


class ChaosFault:
    """Base of every kind. `begin` and `end` are each called once, on the event loop."""

    # What `tally.touched` counts, for people.
    what = "requests touched"

    def __init__(self, request: FaultRequest) -> None:
        self.request = request
        self.tally = Tally()
        # Set when the fault is over: whoever waits because of it goes on.
        self.over = asyncio.Event()
        self._random = random.Random(f"{request.seed}/{request.id}")

    async def begin(self) -> None:
        """Put it in force. Raises ValueError where this agent cannot."""

    async def end(self) -> None:
        """Undo it; what it holds is let go already."""

    def chooses(self, call_id: str) -> bool:
        """Whether the fault's share takes in this call; outside of any call each request is a draw of its own."""
        name = call_id or f"request-{self.tally.seen}"
        return is_chosen(self.request.seed, self.request.id, name, self.request.share)

    def uniform(self, low: float, high: float) -> float:
        """Return the fault's next draw."""
        return self._random.uniform(low, high)

    async def hold(self, seconds: float) -> None:
        """Wait so long, or until the fault is over."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            pass


def loop_ns() -> int:
    """Return the event loop's time, which is CLOCK_MONOTONIC, in ns."""
    return round(asyncio.get_running_loop().time() * NS_PER_S)


class StageFault(ChaosFault):
    """A fault that meets the requests of a stage."""

    stage: str
    # Whether it also takes hold of requests that were under way when it began.
    catches_running = False

    def stands_at(self, stage: str) -> bool:
        """Whether requests of that stage meet it."""
        return stage == self.stage

    async def meet(self, passage: "Passing") -> None:
        """Do what it does to one request before its work; may wait, and may raise what the stage itself could."""

    async def leave(self, passage: "Passing", work_s: float) -> None:
        """Do what it does after the request's work, which took `work_s`."""

    def overtake(self, passage: "Passing") -> None:
        """Do what it does to a request that was under way when it began, at the end of its work; may raise."""


@dataclass(slots=True)
class Passing:
    """One request of a stage on its way."""

    stage: str
    call_id: str
    # The request is answered with nothing, and its work is not done.
    is_empty: bool = False
    # What it has met, in order.
    met: list[StageFault] = field(default_factory=list)
