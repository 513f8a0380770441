"""A bounded number of set-ups at a time, the others wait in the order they are due.

A set-up costs this machine some ms of CPU, most of it cryptography. Five hundred at once would all be slow, and time
out together; one after the other they are fast. What is bounded is our work, not the agent's: a set-up that waits for
an agent gives its place to the next one, so a slow agent never holds back the calls behind it.
"""

import asyncio
import heapq
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

from harness.model.clock import monotonic_ns

T = TypeVar("T")

# By measurement (benchmarks/setup_rate.py): more at a time gain nothing and wait for each other's CPU.
MOST_AT_A_TIME = 16
# A place is kept this long while the agent has the word; a near one answers sooner.
KEEPS_AWAY_S = 0.05
# And this long in all: what takes longer is waiting for the agent, or for packets that were lost.
KEEPS_S = 0.5


class SetupQueue:
    """Hands out places; on one event loop."""

    def __init__(self, most: int = MOST_AT_A_TIME) -> None:
        self._free = most
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def turn(self, due_at_ns: int | None) -> "Turn":
        """Return a set-up's turn, to be entered with `async with`; None = due now."""
        return Turn(self, monotonic_ns() if due_at_ns is None else due_at_ns)

    async def take(self, due_at_ns: int) -> None:
        """Wait for a place."""
        if self._free > 0:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (due_at_ns, self._count, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give()
            raise

    def give(self) -> None:
        """Give a place back, to the earliest due of those who wait."""
        while self._waiting:
            granted = heapq.heappop(self._waiting)[2]
            if not granted.done():
                granted.set_result(None)
                return
        self._free += 1


class Turn:
    """One set-up's place in the queue."""

    def __init__(self, queue: SetupQueue, due_at_ns: int) -> None:
        self._queue = queue
        self._has_place = False
        self._limit: asyncio.TimerHandle | None = None
        self._asked_at_ns: int | None = None
        # When the set-up was due, and how long in all it has waited for a place.
        self.due_at_ns = due_at_ns
        self.waited_ns = 0
        # Whether the agent has the word.
        self.is_away = False

    @property
    def waited_in_all_ns(self) -> int:
        """How long it has waited for a place, with a wait that still lasts."""
        return self.waited_ns + (0 if self._asked_at_ns is None else monotonic_ns() - self._asked_at_ns)

    async def __aenter__(self) -> Self:
        await self._take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give()

    async def away(self, work: Awaitable[T]) -> T:
        """Await what the agent does; when that takes a while the place is given up and taken anew afterwards."""
        task = asyncio.ensure_future(work)
        self.is_away = True
        try:
            await asyncio.wait({task}, timeout=KEEPS_AWAY_S)
            if not task.done():
                self._give()
            result = await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        self.is_away = False
        if not self._has_place:
            await self._take()
        return result

    def leave(self) -> None:
        """Give the place up for good: what is left of the set-up is waiting for the agent, and little work."""
        self.is_away = True
        self._give()

    async def _take(self) -> None:
        self._asked_at_ns = monotonic_ns()
        await self._queue.take(self.due_at_ns)
        self.waited_ns, self._asked_at_ns = self.waited_in_all_ns, None
        self._has_place = True
        self._limit = asyncio.get_running_loop().call_later(KEEPS_S, self._give)

    def _give(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        if self._has_place:
            self._has_place = False
            self._queue.give()
