"""What is wrong with an emulated stage at the moment. Each piece of its work asks here first: faults have one place.

Set live, from the event loop: plain fields, `stall`/`resume`, `go_cold`. All of it is off in the beginning.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from harness.model.clock import NS_PER_MS, NS_PER_S


class Fate(Enum):
    """What becomes of a piece of work."""

    DONE = "done"
    FAILED = "failed"
    # It is done, and there is nothing in it.
    EMPTY = "empty"


def _open() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Conditions:
    """One stage's. Ratios are shares of work, each piece's fate drawn from its own key: the same in every run."""

    delay_ms: float = 0.0
    # Times the service time.
    slow_factor: float = 1.0
    error_ratio: float = 0.0
    # As a server would say it over HTTP.
    error_status: int = 503
    empty_ratio: float = 0.0
    # Pieces of work begun, and those of them that anything here had an effect on.
    seen: int = 0
    touched: int = 0
    _going: asyncio.Event = field(default_factory=_open, repr=False)
    # A load that the next piece of work begins, and the end of one that has begun.
    _cold_ms: float = field(default=0.0, repr=False)
    _loaded_ns: int = field(default=0, repr=False)

    @property
    def is_stalled(self) -> bool:
        """Whether work is begun and none gets on."""
        return not self._going.is_set()

    @property
    def is_cold(self) -> bool:
        """Whether the next piece of work will have to load the model."""
        return self._cold_ms > 0

    def stall(self) -> None:
        """Let no work get on until `resume`."""
        self._going.clear()

    def resume(self) -> None:
        """Let all work go on."""
        self._going.set()

    def go_cold(self, load_ms: float) -> None:
        """Forget the model: the next piece of work loads it, and all wait until it is there."""
        self._cold_ms = load_ms

    def begin(self, now_ns: int) -> int:
        """Count a piece of work; return how long it waits for the model to be loaded, in ns."""
        self.seen += 1
        if self._cold_ms:
            self._loaded_ns = now_ns + round(self._cold_ms * NS_PER_MS)
            self._cold_ms = 0.0
        waits_ns = max(0, self._loaded_ns - now_ns)
        self.touched += bool(waits_ns or self.is_stalled or self.delay_ms or self.slow_factor != 1.0)
        return waits_ns

    async def wait(self, wait_ns: int) -> None:
        """Wait for the load that `begin` told of, and for the end of a stall."""
        if wait_ns:
            await asyncio.sleep(wait_ns / NS_PER_S)
        await self._going.wait()

    def lengthened_ms(self, work_ms: float) -> float:
        """Return how long work takes under these conditions."""
        return work_ms * self.slow_factor + self.delay_ms

    def fate(self, share: float) -> Fate:
        """Return what becomes of the piece of work whose own draw is `share` (0 to 1)."""
        if share < self.error_ratio:
            self.touched += 1
            return Fate.FAILED
        if share < self.error_ratio + self.empty_ratio:
            self.touched += 1
            return Fate.EMPTY
        return Fate.DONE
