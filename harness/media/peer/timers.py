"""Timers of all peers of a process on one grid: checks, handshakes and consent of many calls wake the loop together."""

import asyncio
import heapq
from collections.abc import Callable

GRID_S = 0.01


class Timer:
    """One callback that is due; `cancel` forgets it."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call back."""
        self.callback = None


class Timers:
    """Calls back on the running event loop, at most one grid step late and never early."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._next: asyncio.TimerHandle | None = None
        self._next_slot = 0

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay_s` from now."""
        timer = Timer(callback)
        slot = int((self._loop.time() + delay_s) / GRID_S) + 1
        timers = self._slots.get(slot)
        if timers is None:
            self._slots[slot] = [timer]
            heapq.heappush(self._order, slot)
            self._arm()
        else:
            timers.append(timer)
        return timer

    def _arm(self) -> None:
        if self._next is not None:
            if self._next_slot <= self._order[0]:
                return
            self._next.cancel()
        self._next_slot = self._order[0]
        self._next = self._loop.call_at(self._next_slot * GRID_S, self._fire)

    def _fire(self) -> None:
        self._next = None
        now = int(self._loop.time() / GRID_S)
        while self._order and self._order[0] <= now:
            for timer in self._slots.pop(heapq.heappop(self._order)):
                if timer.callback is not None:
                    callback, timer.callback = timer.callback, None
                    callback()
        if self._order:
            self._arm()

    def close(self) -> None:
        """Forget every timer."""
        if self._next is not None:
            self._next.cancel()
        self._slots.clear()
        self._order.clear()
