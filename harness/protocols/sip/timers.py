"""One wheel for all timers of a user agent: slots of a millisecond, nothing left behind by a cancelled timer."""

from heapq import heapify, heappop, heappush
from typing import Protocol

from harness.model.clock import NS_PER_MS

# Old ticks may outnumber the living ones by this much before the heap is rebuilt.
_SLACK = 64


class TimerOwner(Protocol):
    """What a timer calls when its time has come."""

    def on_timer(self, name: str, now_ns: int) -> None:
        """Timer `name` fired; `now_ns` is the time it was noticed, never before its own."""


class Timer:
    """A running timer; hand it to `TimerWheel.cancel` to stop it. Its owner is None once it fired or was cancelled."""

    __slots__ = ("name", "owner", "tick")

    def __init__(self, tick: int, owner: TimerOwner, name: str) -> None:
        self.tick = tick
        self.owner: TimerOwner | None = owner
        self.name = name


class TimerWheel:
    """Timers by the millisecond they are due in, rounded up: a timer may be under 1 ms late and is never early."""

    __slots__ = ("_slots", "_ticks")

    def __init__(self) -> None:
        # A dict, not a set, for its order: timers of one tick fire in the order they were started.
        self._slots: dict[int, dict[Timer, None]] = {}
        # Heap over the keys of _slots; may hold keys whose slot has emptied.
        self._ticks: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def start(self, when_ns: int, owner: TimerOwner, name: str) -> Timer:
        """Start a timer that calls `owner.on_timer(name, now_ns)` at `when_ns`."""
        tick = -(-when_ns // NS_PER_MS)
        timer = Timer(tick, owner, name)
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = {timer: None}
            heappush(self._ticks, tick)
        else:
            slot[timer] = None
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Stop `timer`; nothing happens when it fired already, was cancelled or is None."""
        if timer is None or timer.owner is None:
            return
        timer.owner = None
        slot = self._slots.get(timer.tick)
        if slot is None:
            return
        slot.pop(timer, None)
        if not slot:
            del self._slots[timer.tick]
            if len(self._ticks) > 2 * len(self._slots) + _SLACK:
                self._ticks = list(self._slots)
                heapify(self._ticks)

    def next_ns(self) -> int | None:
        """Return when the earliest timer is due, None when there is none."""
        ticks, slots = self._ticks, self._slots
        while ticks and ticks[0] not in slots:
            heappop(ticks)
        return ticks[0] * NS_PER_MS if ticks else None

    def fire(self, now_ns: int) -> None:
        """Fire every timer that is due at `now_ns`, the earliest first; what they start for later stays."""
        ticks, now = self._ticks, now_ns // NS_PER_MS
        while ticks and ticks[0] <= now:
            for timer in self._slots.pop(heappop(ticks), ()):
                owner = timer.owner
                # None: cancelled by a timer of the same tick that fired before it.
                if owner is not None:
                    timer.owner = None
                    owner.on_timer(timer.name, now_ns)
            # Cancelling may have rebuilt the heap.
            ticks = self._ticks
