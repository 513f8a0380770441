"""Calls that wait until they are due: each at its time, in order, and none early."""

import asyncio

import pytest

from harness.engine.due_calls import DueCalls
from harness.model.clock import NS_PER_MS, monotonic_ns

pytestmark = pytest.mark.unit


def test_calls_begin_when_they_are_due_in_the_order_they_are_due():
    async def main():
        begun, last = [], asyncio.Event()

        def begin(name, due_ns):
            begun.append((name, monotonic_ns() - due_ns))
            if len(begun) == 4:
                last.set()

        due, now = DueCalls(begin), monotonic_ns()
        # The second is due before the one that the timer was set for; two are due at one instant; one is overdue.
        for name, after_ms in (("late", 30), ("early", 10), ("late too", 30), ("overdue", -5)):
            due.add(name, now + after_ms * NS_PER_MS)
        async with asyncio.timeout(30):
            await last.wait()
        assert [name for name, _late in begun] == ["overdue", "early", "late", "late too"]
        assert min(late for _name, late in begun) >= 0

    asyncio.run(main())


def test_calls_forgotten_never_begin_and_later_ones_do():
    async def main():
        begun = []
        due = DueCalls(lambda name, _due: begun.append(name))
        due.add("forgotten", monotonic_ns() + 5 * NS_PER_MS)
        due.clear()
        due.add("kept", monotonic_ns() + 5 * NS_PER_MS)
        async with asyncio.timeout(30):
            while not begun:
                await asyncio.sleep(0.005)
        assert begun == ["kept"]

    asyncio.run(main())
