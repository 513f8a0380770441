"""Timers of all calls of a process on one grid: deadlines, checks, handshakes and consent wake the event loop together.

A timer of its own costs each of them some 20 µs, most of it for waking the event loop.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable

from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns

# A call speaks from the next of its 20 ms ticks on anyway; every other wait here is many times longer.
GRID_NS = 20 * NS_PER_MS
# So many points may be left at which nothing waits any more, and as many as there are others.
_FEW_POINTS = 1024
_logger = logging.getLogger(__name__)


class Timer:
    """One callback that is due; `cancel` forgets it."""

    __slots__ = ("_waiting", "callback")

    def __init__(self, callback: Callable[[], None], waiting: "dict[Timer, None]") -> None:
        self.callback = callback
        self._waiting = waiting

    def cancel(self) -> None:
        """Never call back."""
        self._waiting.pop(self, None)
        # Whose timer this is holds us, and we it: without a collector's help neither would go.
        self.callback = _nothing


def _nothing() -> None:
    """Be what a timer that is over calls back."""


class Timers:
    """Calls back on the running event loop, at most one grid step late and never early."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Those that wait, by the point of the grid, counted from the clock's zero; in the order in which they were set.
        self._waiting: dict[int, dict[Timer, None]] = {}
        # Heap of those points; for some, nothing may wait any more.
        self._points: list[int] = []
        self._most_points = _FEW_POINTS
        self._next: asyncio.TimerHandle | None = None
        self._next_point = 0
        # What is set while others are called back waits for the event loop's next round.
        self._earliest = 0

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay_s` from now."""
        return self.at(monotonic_ns() + int(delay_s * NS_PER_S), callback)

    def at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, at `at_ns`, monotonic."""
        point = max(-(-at_ns // GRID_NS), self._earliest)
        waiting = self._waiting.get(point)
        if waiting is None:
            waiting = self._waiting[point] = {}
            heapq.heappush(self._points, point)
        timer = Timer(callback, waiting)
        waiting[timer] = None
        if self._next is None or point < self._next_point:
            self._arm()
        return timer

    def _arm(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if len(self._points) > self._most_points:
            self._drop_empty()
        while self._points and not self._waiting[self._points[0]]:
            del self._waiting[heapq.heappop(self._points)]
        if self._points:
            self._next_point = self._points[0]
            after_s = max(0, self._next_point * GRID_NS - monotonic_ns()) / NS_PER_S
            self._next = self._loop.call_later(after_s, self._fire)

    def _drop_empty(self) -> None:
        """Drop the points at which nothing waits: a deadline that a call cancels at its end may be an hour off."""
        self._waiting = {point: waiting for point, waiting in self._waiting.items() if waiting}
        self._points = sorted(self._waiting)
        self._most_points = _FEW_POINTS + 2 * len(self._points)

    def _fire(self) -> None:
        now = monotonic_ns() // GRID_NS
        self._earliest = now + 1
        while self._points and self._points[0] <= now:
            waiting = self._waiting[self._points[0]]
            while waiting:
                # The one set first; what it does may cancel others.
                timer = next(iter(waiting))
                del waiting[timer]
                self._call(timer)
                timer.cancel()
            del self._waiting[heapq.heappop(self._points)]
        self._next = None
        self._arm()

    def _call(self, timer: Timer) -> None:
        try:
            timer.callback()
        except Exception:
            _logger.exception("a timer's callback failed; those of other calls go on")

    def close(self) -> None:
        """Forget every timer."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._waiting.clear()
        self._points.clear()
