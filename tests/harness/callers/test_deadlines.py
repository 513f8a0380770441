"""Alarms of many calls on one timer: each rings once, never early, in order; a silenced one does not ring."""

import asyncio

import pytest

from harness.callers.deadlines import GRID_NS, Deadlines
from harness.model.clock import monotonic_ns

pytestmark = pytest.mark.unit


class Alarms:
    """Alarms by name, on a real event loop; `rung` says which rang, and when."""

    def __init__(self):
        self.deadlines = Deadlines()
        self.rung = []
        self.now = monotonic_ns()

    def alarm(self, name, grids=None, then=lambda: None):
        """Return an alarm, set to `grids` points of the grid from the start on."""

        def ring():
            self.rung.append((name, monotonic_ns()))
            then()

        made = self.deadlines.alarm(ring)
        if grids is not None:
            made.set(self.now + grids * GRID_NS)
        return made

    async def all_rung(self):
        """Wait until an alarm later than all others has rung; return the names before it."""
        over = asyncio.get_running_loop().create_future()
        self.deadlines.alarm(lambda: over.set_result(None)).set(self.now + 12 * GRID_NS)
        await over
        return [name for name, _ in self.rung]


def test_alarms_ring_in_order_and_never_early():
    async def main():
        alarms = Alarms()
        for name, grids in (("late", 4), ("past", -3), ("early", 2), ("early too", 2)):
            alarms.alarm(name, grids)
        assert await alarms.all_rung() == ["past", "early", "early too", "late"]
        due = {"late": 4, "past": -3, "early": 2, "early too": 2}
        assert all(at_ns >= alarms.now + due[name] * GRID_NS for name, at_ns in alarms.rung)

    asyncio.run(main())


def test_an_alarm_set_anew_rings_once_at_the_new_time():
    async def main():
        alarms = Alarms()
        later, sooner = alarms.alarm("later", 1), alarms.alarm("sooner", 9)
        alarms.alarm("between", 3)
        later.set(alarms.now + 6 * GRID_NS)
        sooner.set(alarms.now + GRID_NS)
        sooner.set(alarms.now + GRID_NS)
        assert await alarms.all_rung() == ["sooner", "between", "later"]

    asyncio.run(main())


def test_a_ringing_alarm_silences_another_of_the_same_moment():
    async def main():
        alarms = Alarms()
        silenced = alarms.alarm("silenced")
        alarms.alarm("first", 1, then=silenced.silence)
        silenced.set(alarms.now + GRID_NS)
        alarms.alarm("last", 1)
        assert await alarms.all_rung() == ["first", "last"]

    asyncio.run(main())


def test_an_alarm_that_sets_itself_to_the_past_leaves_the_others_their_time():
    async def main():
        alarms = Alarms()
        again = alarms.alarm("again", 1, then=lambda: again.set(0))
        assert set(await alarms.all_rung()) == {"again"}
        again.silence()

    asyncio.run(main())


def test_a_fault_of_one_call_stops_no_other():
    async def main():
        alarms = Alarms()
        alarms.alarm("faulty", 1, then=lambda: 1 / 0)
        alarms.alarm("sound", 1)
        assert await alarms.all_rung() == ["faulty", "sound"]

    asyncio.run(main())
