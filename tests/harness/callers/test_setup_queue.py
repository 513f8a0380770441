"""The set-up queue: bounded, in due order, and never held up by an agent that takes its time."""

import asyncio

import pytest

from harness.callers import setup_queue
from harness.callers.setup_queue import SetupQueue

pytestmark = pytest.mark.unit


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def test_those_who_wait_go_in_the_order_they_were_due():
    async def scenario():
        queue, order, holds = SetupQueue(most=1), [], asyncio.Event()

        async def set_up(due):
            async with queue.turn(due):
                order.append(due)
                await holds.wait()

        tasks = [asyncio.create_task(set_up(due)) for due in (50, 40, 10, 30, 20)]
        await settle()
        assert order == [50]
        holds.set()
        await asyncio.gather(*tasks)
        assert order == [50, 10, 20, 30, 40]

    asyncio.run(scenario())


def test_no_more_than_its_size_are_at_work():
    async def scenario():
        queue, at_work, most = SetupQueue(most=3), 0, 0

        async def set_up():
            nonlocal at_work, most
            async with queue.turn(None):
                at_work += 1
                most = max(most, at_work)
                await settle()
                at_work -= 1

        await asyncio.gather(*(set_up() for _ in range(40)))
        assert (most, at_work) == (3, 0)

    asyncio.run(scenario())


def test_a_slow_agent_gives_its_place_away_and_gets_it_back_in_due_order(monkeypatch):
    monkeypatch.setattr(setup_queue, "KEEPS_AWAY_S", 0)

    async def scenario():
        queue, answers, log = SetupQueue(most=1), asyncio.Event(), []

        async def slow():
            async with queue.turn(1) as turn:
                assert await turn.away(answer()) == "sdp"
                log.append("slow")

        async def answer():
            await answers.wait()
            return "sdp"

        async def fast():
            async with queue.turn(2):
                log.append("fast")
                answers.set()
                await settle()

        await asyncio.gather(slow(), fast())
        assert log == ["fast", "slow"]

    asyncio.run(scenario())


def test_what_takes_too_long_loses_its_place_and_still_ends_well(monkeypatch):
    monkeypatch.setattr(setup_queue, "KEEPS_S", 0)

    async def scenario():
        queue, other_is_in = SetupQueue(most=1), asyncio.Event()

        async def stuck():
            async with queue.turn(1):
                await other_is_in.wait()

        async def other():
            async with queue.turn(2):
                other_is_in.set()

        await asyncio.gather(stuck(), other())
        # One place, and it is back.
        async with queue.turn(None) as turn:
            assert turn.waited_ns < 1_000_000_000
            assert queue._free == 0
        assert queue._free == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("granted", [False, True])
def test_a_call_interrupted_in_the_queue_takes_no_place_with_it(granted):
    async def scenario():
        queue = SetupQueue(most=1)
        first = queue.turn(1)
        await first.__aenter__()
        waiting = asyncio.create_task(queue.turn(2).__aenter__())
        await settle()
        if granted:
            # Its place comes in the same step of the loop as its end.
            await first.__aexit__(None, None, None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not granted:
            await first.__aexit__(None, None, None)
        assert queue._free == 1

    asyncio.run(scenario())


def test_what_the_agent_refuses_reaches_the_call():
    async def scenario():
        async def refuse():
            raise ConnectionRefusedError("no")

        queue = SetupQueue(most=1)
        with pytest.raises(ConnectionRefusedError):
            async with queue.turn(None) as turn:
                await turn.away(refuse())
        assert queue._free == 1

    asyncio.run(scenario())


def test_a_set_up_may_leave_for_good():
    async def main():
        queue = SetupQueue(1)
        order = []
        async with queue.turn(None) as first:
            first.leave()
            assert first.is_away
            async with queue.turn(None):
                order.append("second")
        # It gave its place back once: there is one, and not two.
        async with queue.turn(None):
            waiting = asyncio.create_task(queue.take(0))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        assert order == ["second"]

    asyncio.run(main())
