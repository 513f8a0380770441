"""Timers of many calls on one grid: each calls back once, never early, in order; a cancelled one does not."""

import asyncio
import gc
import weakref

import pytest

from harness.media.timers import GRID_NS, Timers
from harness.model.clock import monotonic_ns

pytestmark = pytest.mark.unit


class Clockwork:
    """Timers by name, on a real event loop; `called` says which called back, and when."""

    def __init__(self):
        self.timers = Timers()
        self.called = []
        self.now = monotonic_ns()

    def at(self, name, grids, then=lambda: None):
        """Set a timer `grids` points of the grid after the start."""

        def call():
            self.called.append((name, monotonic_ns()))
            then()

        return self.timers.at(self.now + grids * GRID_NS, call)

    async def names(self):
        """Wait until a timer later than all others has called back; return the names before it."""
        over = asyncio.get_running_loop().create_future()
        self.timers.at(self.now + 12 * GRID_NS, lambda: over.set_result(None))
        await over
        return [name for name, _ in self.called]


def test_timers_call_back_in_order_and_never_early():
    async def main():
        work = Clockwork()
        due = {"late": 4, "past": -3, "early": 2, "early too": 2}
        for name, grids in due.items():
            work.at(name, grids)
        assert await work.names() == ["past", "early", "early too", "late"]
        assert all(at_ns >= work.now + due[name] * GRID_NS for name, at_ns in work.called)

    asyncio.run(main())


def test_a_delay_counts_from_now():
    async def main():
        timers, over = Timers(), asyncio.get_running_loop().create_future()
        began = monotonic_ns()
        timers.after(0.02, lambda: over.set_result(monotonic_ns()))
        assert await over - began >= 20_000_000

    asyncio.run(main())


def test_a_timer_cancelled_does_not_call_back_and_others_do():
    async def main():
        work = Clockwork()
        first, _, _ = work.at("first", 1), work.at("second", 2), work.at("third", 3)
        first.cancel()
        first.cancel()
        work.at("sooner", 1)
        assert await work.names() == ["sooner", "second", "third"]

    asyncio.run(main())


def test_a_callback_may_cancel_another_of_the_same_moment():
    async def main():
        work = Clockwork()

        def cancel():
            cancelled.cancel()

        work.at("first", 1, then=cancel)
        cancelled = work.at("cancelled", 1)
        work.at("last", 1)
        assert await work.names() == ["first", "last"]

    asyncio.run(main())


def test_a_callback_that_sets_itself_to_the_past_leaves_the_others_their_time():
    async def main():
        work = Clockwork()

        def again():
            work.timer = work.timers.at(0, again)

        again()
        work.at("other", 2)
        assert await work.names() == ["other"]
        work.timer.cancel()

    asyncio.run(main())


def test_a_fault_of_one_callback_stops_no_other():
    async def main():
        work = Clockwork()
        work.at("faulty", 1, then=lambda: 1 / 0)
        work.at("sound", 1)
        assert await work.names() == ["faulty", "sound"]

    asyncio.run(main())


def test_nothing_calls_back_after_the_end():
    async def main():
        work = Clockwork()
        work.at("never", 1)
        work.timers.close()
        assert await work.names() == []

    asyncio.run(main())


def test_cancelled_timers_leave_nothing_behind_however_far_off_they_were():
    async def main():
        work = Clockwork()
        for grids in range(20, 5_020):
            work.at("never", grids).cancel()
        work.at("soon", 1)
        assert await work.names() == ["soon"]
        return len(work.timers._points), len(work.timers._waiting)

    points, waiting = asyncio.run(main())
    assert points == waiting <= 2


def test_a_timer_that_is_over_holds_its_owner_no_more():
    class Owner:
        def __init__(self, timers, delay_s):
            self.timer = timers.after(delay_s, self.rung)

        def rung(self):
            """Be called back."""

    async def main():
        timers = Timers()
        owners = [Owner(timers, 60.0), Owner(timers, 0.0)]
        owners[0].timer.cancel()
        await asyncio.sleep(0.05)
        held = [weakref.ref(owner) for owner in owners]
        owners.clear()
        return [reference() for reference in held]

    gc.disable()
    try:
        assert asyncio.run(main()) == [None, None]
    finally:
        gc.enable()
