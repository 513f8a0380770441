"""Wakes calls at their deadlines: one timer of the event loop for all calls of an engine, on a grid of 5 ms.

A timer of its own costs each call some 20 µs a turn, most of it for waking the event loop. A call speaks from the next
of its 20 ms ticks on anyway, and its time-outs are seconds long.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable

from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns

GRID_NS = 5 * NS_PER_MS
_logger = logging.getLogger(__name__)


class Deadlines:
    """The alarms of one event loop, each at a point of the grid; points are counted from the clock's zero."""

    def __init__(self) -> None:
        # By point; in the order in which they were set.
        self._alarms: dict[int, dict[Alarm, None]] = {}
        # Heap of those points; the alarms of some may all have been set anew.
        self._points: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0
        # What is set while alarms ring waits for the event loop's next round.
        self._earliest = 0

    def alarm(self, ring: Callable[[], None]) -> "Alarm":
        """Return an alarm that is not set yet; `ring` is called when its time has come."""
        return Alarm(self, ring)

    def put(self, alarm: "Alarm", at_ns: int) -> int:
        """Enter an alarm; return its point."""
        point = max(-(-at_ns // GRID_NS), self._earliest)
        alarms = self._alarms.get(point)
        if alarms is None:
            alarms = self._alarms[point] = {}
            heapq.heappush(self._points, point)
        alarms[alarm] = None
        if self._timer is None or point < self._wakes_at:
            self._set_timer()
        return point

    def take(self, alarm: "Alarm", point: int) -> None:
        """Take an alarm out again."""
        self._alarms[point].pop(alarm, None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._points and not self._alarms[self._points[0]]:
            del self._alarms[heapq.heappop(self._points)]
        if self._points:
            self._wakes_at = self._points[0]
            after_s = max(0, self._wakes_at * GRID_NS - monotonic_ns()) / NS_PER_S
            self._timer = asyncio.get_running_loop().call_later(after_s, self._on_timer)

    def _on_timer(self) -> None:
        now = monotonic_ns() // GRID_NS
        self._earliest = now + 1
        while self._points and self._points[0] <= now:
            alarms = self._alarms[self._points[0]]
            while alarms:
                # The one set first; what rings may silence others.
                alarm = next(iter(alarms))
                del alarms[alarm]
                alarm.go_off()
            del self._alarms[heapq.heappop(self._points)]
        self._timer = None
        self._set_timer()


class Alarm:
    """Rings once, up to 5 ms after the time it was last set to."""

    def __init__(self, deadlines: Deadlines, ring: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self._ring = ring
        self._at_ns: int | None = None
        self._point = 0

    def set(self, at_ns: int) -> None:
        """Ring at `at_ns`, monotonic, instead of when it was to ring before."""
        if at_ns != self._at_ns:
            self.silence()
            self._at_ns = at_ns
            self._point = self._deadlines.put(self, at_ns)

    def silence(self) -> None:
        """Do not ring."""
        if self._at_ns is not None:
            self._deadlines.take(self, self._point)
            self._at_ns = None

    def go_off(self) -> None:
        """Ring, taken out already; a fault of one call must not stop the others' time."""
        self._at_ns = None
        try:
            self._ring()
        except Exception:
            _logger.exception("a call failed at its deadline")
