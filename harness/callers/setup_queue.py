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
        # Those that have a place, and until when (loop time), the earliest first: one timer for all of them.
        self._holders: dict[Turn, float] = {}
        self._sweep: asyncio.TimerHandle | None = None

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

    def hold(self, turn: "Turn") -> None:
        """Take a place away that is kept for too long."""
        loop = asyncio.get_running_loop()
        self._holders[turn] = until = loop.time() + KEEPS_S
        if self._sweep is None:
            self._sweep = loop.call_at(until, self._take_away)

    def let_go(self, turn: "Turn") -> None:
        """Hear that a place is given back in time."""
        self._holders.pop(turn, None)

    def _take_away(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for turn, until in list(self._holders.items()):
            if until > loop.time():
                self._sweep = loop.call_at(until, self._take_away)
                return
            turn.give_up()

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
        self.give_up()

    async def away(self, work: Awaitable[T]) -> T:
        """Await what the agent does; when that takes a while the place is given up and taken anew afterwards."""
        task = asyncio.ensure_future(work)
        self.is_away = True
        try:
            await asyncio.wait({task}, timeout=KEEPS_AWAY_S)
            if not task.done():
                self.give_up()
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
        self.give_up()

    async def _take(self) -> None:
        self._asked_at_ns = monotonic_ns()
        await self._queue.take(self.due_at_ns)
        self.waited_ns, self._asked_at_ns = self.waited_in_all_ns, None
        self._has_place = True
        self._queue.hold(self)

    def give_up(self) -> None:
        """Give the place back, if it has one."""
        if self._has_place:
            self._has_place = False
            self._queue.let_go(self)
            self._queue.give()
