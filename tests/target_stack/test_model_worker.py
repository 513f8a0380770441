import asyncio
import os
import threading

import pytest

from target_stack.stages.worker import MODEL_NICENESS, ModelWorker, QueueFullError
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit


async def until_waiting(stats, queue, count):
    while stats.queue_depths[queue] < count:
        await asyncio.sleep(0)


def test_a_full_queue_refuses_and_counts():
    async def scenario():
        stats, gate, order = Stats(), threading.Event(), []
        worker = ModelWorker("stt", stats, waiting=2)

        def job(number):
            gate.wait()
            order.append(number)

        jobs = [asyncio.create_task(worker.run(job, number)) for number in range(3)]
        await until_waiting(stats, "stt", 2)
        with pytest.raises(QueueFullError, match="stt: 2 jobs wait already, the bound is 2"):
            await worker.run(gate.wait)
        gate.set()
        done = await asyncio.gather(*jobs)
        assert await worker.aclose()
        return stats, order, done

    stats, order, done = asyncio.run(scenario())
    assert stats.refused["stt"] == 1
    assert stats.queue_depths["stt"] == 0
    assert order == [0, 1, 2]
    assert done[1].queue_ms > 0
    assert done[2].queue_ms > 0


def test_a_cancelled_waiter_leaves_the_queue_and_a_cancelled_runner_keeps_its_thread():
    async def scenario():
        stats, gate, ran = Stats(), threading.Event(), []
        worker = ModelWorker("tts", stats, waiting=2)
        running = asyncio.create_task(worker.run(gate.wait))
        await asyncio.sleep(0)
        withdrawn = asyncio.create_task(worker.run(ran.append, "withdrawn"))
        after = asyncio.create_task(worker.run(ran.append, "after"))
        await until_waiting(stats, "tts", 2)
        withdrawn.cancel()
        running.cancel()
        await asyncio.wait({withdrawn, running})
        # The thread is still inside the cancelled job: nothing else may run on it yet.
        assert ran == []
        assert stats.queue_depths["tts"] == 1
        gate.set()
        await after
        await worker.aclose()
        return ran

    assert asyncio.run(scenario()) == ["after"]


def test_a_jobs_error_reaches_its_caller_and_frees_the_thread():
    async def scenario():
        worker = ModelWorker("tts", Stats(), waiting=1)
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        done = await worker.run(lambda: 7)
        await worker.aclose()
        return done.value

    assert asyncio.run(scenario()) == 7


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no thread priorities here")
def test_jobs_run_at_low_priority_and_the_loop_does_not():
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def scenario():
        before = niceness()
        worker = ModelWorker("stt", Stats())
        done = await worker.run(niceness)
        await worker.aclose()
        return before, niceness(), done.value

    before, after, inside = asyncio.run(scenario())
    assert after == before
    assert inside == max(before, MODEL_NICENESS)
