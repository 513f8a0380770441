"""Calls that wait until they are due: one timer for all of them, and no task before it is time."""

import asyncio
import heapq
from collections.abc import Callable

from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.plan import CallPlan

Begin = Callable[[CallPlan, int], None]


class DueCalls:
    """Calls `begin(plan, due_at_ns)` for each when it is due, on the running event loop."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        # The number keeps those due at one instant in their order, and plans from being compared.
        self._waiting: list[tuple[int, int, CallPlan]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns = 0

    def add(self, plan: CallPlan, due_at_ns: int) -> None:
        """Let a call wait."""
        self._count += 1
        heapq.heappush(self._waiting, (due_at_ns, self._count, plan))
        if self._timer is None or due_at_ns < self._timer_at_ns:
            self._arm()

    def clear(self) -> None:
        """Forget those that wait."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = self._waiting[0][0]
        delay_s = max(0, self._timer_at_ns - monotonic_ns()) / NS_PER_S
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= monotonic_ns():
            due_at_ns, _number, plan = heapq.heappop(self._waiting)
            self._begin(plan, due_at_ns)
        if self._waiting:
            self._arm()
