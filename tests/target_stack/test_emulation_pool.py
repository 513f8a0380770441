"""One pool of emulated servers for several processes: over a real Unix socket, with times of a few milliseconds."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from target_stack.call_scope import CallScope, enter_scope
from target_stack.emulation.emulated import EmulatedModels
from target_stack.emulation.pool_client import PoolClient
from target_stack.emulation.pool_host import PoolHost
from target_stack.emulation.servers import ServerOptions
from target_stack.emulation.service_times import Level, read_service_times
from target_stack.emulation.work import EmulatedFailureError
from target_stack.emulation_config import EmulationConfig
from target_stack.frames import INPUT_RATE
from target_stack.stages.llm import LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.worker import QueueFullError
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.loopback


def config(**stt):
    guide = read_service_times(None)
    quick = (Level(at_once=1, base_ms=2, per_unit_ms=0),)
    times = guide.model_copy(
        update={
            "stt": guide.stt.model_copy(update={"levels": quick, "slots": 1, "waiting": 2} | stt),
            "llm": guide.llm.model_copy(update={"levels": quick, "token_levels": quick}),
            "tts": guide.tts.model_copy(update={"levels": quick, "batch_wait_ms": 0}),
        }
    )
    return EmulationConfig(times, ServerOptions())


class Pool:
    """A host and the models of two agents that share it."""

    def __init__(self, tmp_path, **stt):
        self._path = tmp_path / "pool"
        self.config = config(**stt)
        self.host = PoolHost(self.config, self._path)

    async def __aenter__(self):
        await self.host.start()
        shared = replace(self.config, pool=self._path)
        self.agents = [EmulatedModels(shared, Stats(), {}) for _ in range(2)]
        for agent in self.agents:
            await asyncio.gather(agent.load_stt(), agent.load_llm(), agent.load_tts())
            agent.settle()
        return self

    async def __aexit__(self, *_):
        for agent in self.agents:
            await agent.aclose()
        await self.host.aclose()


def with_pool(scenario, tmp_path, **stt):
    async def main():
        async with asyncio.timeout(30), Pool(tmp_path, **stt) as pool:
            return await scenario(pool)

    return asyncio.run(main())


class Hold:
    """Holds a pool's recognitions where they are begun, each in its slot, until `release`."""

    def __init__(self, pool):
        self.conditions = pool.host.servers.conditions["stt"]
        self._going = asyncio.Event()
        self.conditions.wait = self._wait
        self.release = self._going.set

    async def _wait(self, _wait_ns):
        await self._going.wait()

    async def until_one_has_begun(self):
        while not self.conditions.seen:
            await asyncio.sleep(0.001)


SECOND = np.zeros(INPUT_RATE, np.int16)


async def written(agent):
    async with aclosing(agent.llm.stream([Message("user", "Hello?")])) as words:
        return "".join([word async for word in words])


def test_every_stage_works_through_the_pool(tmp_path):
    async def scenario(pool):
        agent = pool.agents[0]
        heard = await agent.stt.transcribe(SECOND)
        speech = await agent.tts.synthesise("A sentence.")
        return heard, speech, await written(agent), pool.host.metrics(), agent.metrics()

    heard, speech, reply, shared, own = with_pool(scenario, tmp_path)
    assert heard.is_emulated
    assert heard.work_ms > 0
    assert len(speech.samples) > 0
    assert reply == "Of course, what is your account number?"
    assert 'callquake_emulated_work_total{stage="llm"} 1' in shared
    assert 'callquake_batch_requests_total{queue="stt",ending="answered"} 1' in shared
    # The shared queues are told once, by the host.
    assert own == ""


def test_slots_and_waiting_rooms_are_one_for_all(tmp_path):
    async def scenario(pool):
        hold = Hold(pool)
        work = [asyncio.ensure_future(agent.stt.transcribe(SECOND)) for agent in pool.agents for _ in range(2)]
        # One of the four is in work, two wait, the last is refused.
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        assert [type(task.exception()).__name__ for task in done] == ["PoolRefusedError"]
        hold.release()
        results = await asyncio.gather(*work, return_exceptions=True)
        return sum(isinstance(result, QueueFullError) for result in results), pool.host.stats.refused

    assert with_pool(scenario, tmp_path) == (1, {"stt": 1})


def test_who_gives_up_gives_the_place_back(tmp_path):
    async def scenario(pool):
        hold = Hold(pool)
        waiting = [asyncio.ensure_future(pool.agents[0].stt.transcribe(SECOND)) for _ in range(3)]
        while pool.host.batches["stt"].depth < 2:
            await asyncio.sleep(0.001)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        while pool.host.batches["stt"].depth:
            await asyncio.sleep(0.001)
        hold.release()
        return (await pool.agents[1].stt.transcribe(SECOND)).is_emulated

    assert with_pool(scenario, tmp_path)


def test_a_process_that_goes_takes_its_requests_with_it(tmp_path):
    async def scenario(pool):
        hold = Hold(pool)
        left = asyncio.ensure_future(pool.agents[0].stt.transcribe(SECOND))
        waits = [asyncio.ensure_future(pool.agents[0].stt.transcribe(SECOND)) for _ in range(2)]
        while pool.host.batches["stt"].depth < 2:
            await asyncio.sleep(0.001)
        await pool.agents[0].aclose()
        while pool.host.batches["stt"].depth:
            await asyncio.sleep(0.001)
        for task in (left, *waits):
            task.cancel()
        await asyncio.wait((left, *waits))
        hold.release()
        return (await pool.agents[1].stt.transcribe(SECOND)).is_emulated

    assert with_pool(scenario, tmp_path)


async def broken(_job):
    raise EmulatedFailureError("broken", 502)


async def wordless(_job):
    raise LlmError("broken", status=502)
    yield ""


def test_errors_cross_as_they_are(tmp_path):
    async def scenario(pool):
        servers = pool.host.servers
        servers.recognise, servers.speak, servers.write = broken, broken, wordless
        agent, errors = pool.agents[0], []
        for work in (agent.stt.transcribe(SECOND), agent.tts.synthesise("A sentence."), written(agent)):
            with pytest.raises((EmulatedFailureError, LlmError)) as error:
                await work
            errors.append((type(error.value), error.value.status))
        return errors

    assert with_pool(scenario, tmp_path) == [(EmulatedFailureError, 502)] * 2 + [(LlmError, 502)]


def test_a_pool_that_goes_fails_what_waits_and_the_agent_is_not_ready(tmp_path):
    async def scenario(pool):
        agent = pool.agents[0]
        assert agent.fault() == ""
        hold = Hold(pool)
        work = asyncio.ensure_future(agent.stt.transcribe(SECOND))
        await hold.until_one_has_begun()
        await pool.host.aclose()
        (error,) = await asyncio.gather(work, return_exceptions=True)
        with pytest.raises(QueueFullError, match="pool of emulated servers is gone"):
            await agent.stt.transcribe(SECOND)
        with pytest.raises(LlmError, match="pool of emulated servers is gone"):
            await written(agent)
        return error, agent.fault()

    error, fault = with_pool(scenario, tmp_path)
    assert isinstance(error, LlmError | QueueFullError)
    assert "gone" in fault


def test_where_there_is_no_pool_the_option_is_named(tmp_path):
    async def main():
        await PoolClient(tmp_path / "nobody").connect()

    with pytest.raises(OSError, match=r"--stage-pool .*nobody"):
        asyncio.run(main())


def test_who_waits_longest_goes_first_whatever_process_asks(tmp_path):
    async def scenario(pool):
        order = []

        async def hear(agent, name, since_ns):
            enter_scope(CallScope(name, 1, since_ns))
            await agent.stt.transcribe(SECOND)
            order.append(name)

        hold = Hold(pool)
        now = 10**15
        tasks = [asyncio.create_task(hear(pool.agents[0], "first", now))]
        await hold.until_one_has_begun()
        for number, (agent, name) in enumerate(((0, "late"), (1, "early"))):
            tasks.append(asyncio.create_task(hear(pool.agents[agent], name, now - number * 10**9)))
            while pool.host.batches["stt"].depth <= number:
                await asyncio.sleep(0.001)
        hold.release()
        await asyncio.gather(*tasks)
        return order

    assert with_pool(scenario, tmp_path) == ["first", "early", "late"]
