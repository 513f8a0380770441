"""Emulated stages in virtual time: service times, queues, limits, refusals, faults, and what they give."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from virtual_loop import now_ns, run_virtually

from target_stack.call_scope import CallScope, enter_scope
from target_stack.chaos.chaos import Chaos
from target_stack.chaos.fault import FaultRequest
from target_stack.emulation.life import Life
from target_stack.emulation.servers import LocalServers, ServerOptions
from target_stack.emulation.service_times import Level, read_service_times
from target_stack.emulation.stages import EmulatedLlm, EmulatedStt, EmulatedTts
from target_stack.emulation.work import EmulatedFailureError
from target_stack.emulation.writer import Writer, prompt_tokens
from target_stack.frames import INPUT_RATE, SPEECH_RATE
from target_stack.routing.failures import ProviderError, ending_of
from target_stack.routing.router import Ending
from target_stack.stages.llm import LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.worker import QueueFullError
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit


def flat(ms, at_once=1):
    return (Level(at_once=at_once, base_ms=ms, per_unit_ms=0),)


def times(**changes):
    """100 ms to recognise, 200 ms to a first word and 10 ms a token, 50 ms to speak; one slot each, room for two."""
    guide = read_service_times(None)
    stage = {"slots": 1, "waiting": 2}
    plain = {
        "stt": guide.stt.model_copy(update=stage | {"levels": flat(100)}),
        "llm": guide.llm.model_copy(
            update=stage
            | {"levels": flat(200), "token_levels": (Level(at_once=1, base_ms=0, per_unit_ms=10),), "kv_tokens": 10_000}
        ),
        "tts": guide.tts.model_copy(update=stage | {"levels": flat(50), "batch": 1, "batch_wait_ms": 0}),
    }
    for name, update in changes.items():
        plain[name] = plain[name].model_copy(update=update)
    return guide.model_copy(update=plain)


class Bench:
    """The three stages over servers of one process, in virtual time."""

    def __init__(self, service_times, **options):
        self.stats, self.batches = Stats(), {}
        self.servers = LocalServers(service_times, ServerOptions(**options), self.stats, self.batches, now=now_ns)
        self.stt = EmulatedStt(self.servers, "stt", Life("stt", lambda: 3000.0))
        self.llm = EmulatedLlm(self.servers, "llm", Life("llm", lambda: 3000.0), ["Of course, one moment."])
        self.tts = EmulatedTts(self.servers, "tts", Life("tts", lambda: 3000.0), 60.0)

    async def hear(self, seconds=3.0):
        return await self.stt.transcribe(np.zeros(round(seconds * INPUT_RATE), np.int16))

    async def write(self, text="Hello?"):
        """Return the words with when each came, in ms from the request."""
        began_ns = now_ns()
        async with aclosing(self.llm.stream([Message("user", text)])) as pieces:
            return [(piece, (now_ns() - began_ns) / 1e6) async for piece in pieces]

    async def aclose(self):
        await self.servers.aclose()


def with_bench(scenario, service_times=None, **options):
    async def main():
        bench = Bench(service_times or times(), **options)
        try:
            return await scenario(bench)
        finally:
            await bench.aclose()

    return run_virtually(main())


async def outcomes(*work):
    """Return (result or error, virtual ms until then) of each, started together."""
    began_ns = now_ns()

    async def one(piece):
        try:
            result = await piece
        except Exception as error:  # noqa: BLE001 - it is the outcome
            result = error
        return result, (now_ns() - began_ns) / 1e6

    return await asyncio.gather(*map(one, work))


def test_each_stage_takes_its_time_and_gives_what_it_should():
    async def scenario(bench):
        ((heard, heard_ms),) = await outcomes(bench.hear(4.0))
        ((speech, speech_ms),) = await outcomes(bench.tts.synthesise("a" * 50))
        return heard, heard_ms, speech, speech_ms, await bench.write()

    heard, heard_ms, speech, speech_ms, words = with_bench(scenario)
    assert heard_ms == pytest.approx(100)
    assert heard.is_emulated
    assert heard.text.startswith("emulated transcript")
    assert len(heard.text.split()) == 10
    assert (heard.work_ms, heard.queue_ms) == pytest.approx((100, 0))
    assert speech_ms == pytest.approx(50)
    assert len(speech.samples) == 3.0 * SPEECH_RATE
    assert "".join(word for word, _ in words) == "Of course, one moment."
    # The first word comes after the prompt is read; each later one takes its tokens' time: "course," has 2.
    assert [at for _, at in words] == pytest.approx([200, 220, 230, 250])


def test_one_slot_works_through_its_queue_in_order_and_refuses_beyond_it():
    async def scenario(bench):
        return await outcomes(*(bench.hear() for _ in range(4))), bench.stats.refused

    found, refused = with_bench(scenario)
    assert [at for _, at in found] == pytest.approx([100, 200, 300, 0])
    assert [type(result) for result, _ in found[3:]] == [QueueFullError] or isinstance(found[3][0], QueueFullError)
    assert [round(result.queue_ms) for result, _ in found[:3]] == [0, 100, 200]
    assert refused == {"stt": 1}


def test_more_slots_work_at_once_and_slow_each_other_down_as_the_levels_say():
    levels = (Level(at_once=1, base_ms=100, per_unit_ms=0), Level(at_once=3, base_ms=200, per_unit_ms=0))

    async def scenario(bench):
        return await outcomes(*(bench.hear() for _ in range(3)))

    found = with_bench(scenario, times(stt={"levels": levels}), stt_slots=3)
    # The first of three began alone.
    assert sorted(at for _, at in found) == pytest.approx([100, 150, 200])


def test_a_batch_speaks_many_in_little_more_than_the_time_of_one():
    batching = {"batch": 8, "batch_wait_ms": 50, "waiting": 64, "batch_factors": ((1.0, 1.0), (8.0, 2.0))}

    async def scenario(bench):
        found = await outcomes(*(bench.tts.synthesise(f"Sentence {number}.") for number in range(8)))
        return found, bench.batches["tts"].sizes

    found, sizes = with_bench(scenario, times(tts=batching))
    assert [at for _, at in found] == pytest.approx([100] * 8)
    assert sizes == {8: 1}


def test_a_full_server_says_429_and_when_to_come_back():
    async def scenario(bench):
        return await outcomes(*(bench.write() for _ in range(4)))

    found = with_bench(scenario)
    errors = [result for result, _ in found if isinstance(result, LlmError)]
    assert [(error.status, error.retry_after_s, ending_of(error)) for error in errors] == [(429, 1.0, Ending.LIMITED)]
    # One after another: each in the 250 ms of its own words.
    assert sorted(at for _, at in found) == pytest.approx([0, 250, 500, 750])


def test_replies_share_the_gpu():
    llm = {
        "slots": 2,
        "levels": (Level(at_once=1, base_ms=200, per_unit_ms=0), Level(at_once=2, base_ms=400, per_unit_ms=0)),
        "token_levels": (Level(at_once=1, base_ms=0, per_unit_ms=10), Level(at_once=2, base_ms=0, per_unit_ms=20)),
    }

    async def scenario(bench):
        return await outcomes(bench.write(), bench.write())

    (alone, alone_ms), (beside, _) = with_bench(scenario, times(llm=llm))
    # The second came while the first was being read; 5 tokens at 20 ms.
    assert alone_ms == pytest.approx(200 + 5 * 20, abs=1)
    assert beside[0][1] == pytest.approx(400)
    del alone


def test_the_context_and_the_cache_bound_a_reply():
    async def scenario(bench):
        beyond = await outcomes(bench.write("word " * 500))
        cached = await outcomes(bench.write("word " * 100), bench.write("word " * 100))
        return beyond, cached

    limits = {"slots": 8, "context_tokens": 300, "kv_tokens": 300}
    ((error, at),) = (found := with_bench(scenario, times(llm=limits)))[0]
    assert (error.status, at, ending_of(error)) == (400, 0, Ending.WITHDRAWN)
    assert "the context has 300" in str(error)
    # Two prompts of 170 tokens do not fit in the cache together.
    assert sorted(at for _, at in found[1]) == pytest.approx([250, 500])


def test_who_leaves_gives_the_slot_to_the_next():
    async def scenario(bench):
        began_ns = now_ns()
        first = asyncio.create_task(bench.write())
        second = asyncio.create_task(bench.write())
        await asyncio.sleep(0.05)
        first.cancel()
        await second
        assert first.cancelled()
        return (now_ns() - began_ns) / 1e6, bench.servers.writer_stats.running

    assert with_bench(scenario) == (pytest.approx(300), 0)


def test_a_silent_server_is_given_up_as_the_client_does():
    async def scenario():
        writer = Writer(
            times().llm, 1, Stats(), LocalServers(times(), ServerOptions(), Stats(), {}).lateness, now=now_ns
        )
        writer.conditions.go_cold(60_000)
        stage = EmulatedLlm(_Only(writer), "llm", Life("llm", lambda: 0.0))
        with pytest.raises(LlmError, match="silent for 15 s"):
            async with aclosing(stage.stream([Message("user", "Hello?")])) as pieces:
                await anext(pieces)
        return writer.stats.running

    assert run_virtually(scenario()) == 0


class _Only:
    def __init__(self, writer):
        self.write = writer.write


def test_the_same_call_and_turn_take_the_same_time_however_many_run_beside():
    guide = read_service_times(None)

    async def scenario(bench):
        async def turn(call_id, number):
            enter_scope(CallScope(call_id, number, now_ns()))
            return (await bench.hear()).work_ms

        tasks = [asyncio.create_task(turn(call, number)) for call in ("a", "b") for number in (1, 2)]
        return [round(await task, 6) for task in tasks]

    first = with_bench(scenario, guide, seed=3, stt_slots=4)
    assert len(set(first)) == 4
    assert with_bench(scenario, guide, seed=3, stt_slots=1) == first
    assert with_bench(scenario, guide, seed=4, stt_slots=4) != first


def test_longer_conversations_take_longer_to_read():
    short = prompt_tokens([Message("user", "Hello.")])
    long = prompt_tokens([Message("user", "Hello."), Message("assistant", "word " * 100), Message("user", "And?")])
    assert long - short > 120


def test_a_cold_start_is_paid_once_and_by_all_who_come_meanwhile():
    cold = {"cold_start_ms": ((0.0, 6000.0), (1.0, 6000.0))}

    async def scenario(bench):
        assert bench.servers.go_cold("stt") == 6000
        found = await outcomes(bench.hear(), _after(2.0, bench.hear))
        again = await outcomes(bench.hear())
        return found, again, bench.servers.conditions["stt"]

    found, again, conditions = with_bench(scenario, times(stt=cold), stt_slots=2)
    assert [at for _, at in found] == pytest.approx([6100, 6100 + 100], abs=101)
    assert again[0][1] == pytest.approx(100)
    assert (conditions.seen, conditions.touched, conditions.is_cold) == (3, 2, False)


async def _after(seconds, work):
    await asyncio.sleep(seconds)
    return await work()


class Faulty:
    """One stage of a bench behind the agent's faults, asked for a call."""

    def __init__(self, bench, stage):
        self.chaos = Chaos(now=now_ns)
        self._bench, self._stage = bench, stage
        self._behind = getattr(self.chaos, stage)(getattr(bench, stage))

    async def begin(self, kind, **parameters):
        fault = FaultRequest(kind, f"stage.{kind}", {"stage": self._stage, **parameters}, 1.0, 7, 1_000.0)
        await self.chaos.begin(fault)

    async def end(self, kind):
        """Return how many requests it touched."""
        return (await self.chaos.end(kind))["touched"]

    async def ask(self):
        """Return what came, or the error, and after how many ms."""
        enter_scope(CallScope("call", 1, now_ns()))
        ((answer, at),) = await outcomes(self._work())
        return answer, at

    async def _work(self):
        match self._stage:
            case "stt":
                return (await self._behind.transcribe(np.zeros(3 * INPUT_RATE, np.int16))).text
            case "llm":
                async with aclosing(self._behind.stream([Message("user", "Hello?")])) as pieces:
                    return "".join([piece async for piece in pieces])
            case _:
                return (await self._behind.synthesise("A sentence.")).samples.tobytes()


# By stage: what a piece of work takes.
TAKES_MS = {"stt": 100, "llm": 250, "tts": 50}


@pytest.mark.parametrize("stage", list(TAKES_MS))
def test_delay_slowness_stall_failure_and_emptiness_show_and_are_counted(stage):
    async def scenario(bench):
        usual = TAKES_MS[stage]
        faulty = Faulty(bench, stage)
        await faulty.begin("delay", delay_ms=70)
        await faulty.begin("slow", factor=3)
        _, at = await faulty.ask()
        # Every word of a reply is late, however early its server had it.
        assert at == pytest.approx(3 * usual + 70)
        touched = [await faulty.end("delay"), await faulty.end("slow")]
        await faulty.begin("stall")
        held = asyncio.create_task(faulty.ask())
        await asyncio.sleep(1.5)
        assert not held.done()
        touched.append(await faulty.end("stall"))
        assert (await held)[1] == pytest.approx(1500 + usual)
        await faulty.begin("error", status=502)
        error, _ = await faulty.ask()
        assert isinstance(error, LlmError if stage == "llm" else ProviderError)
        assert (error.status, ending_of(error)) == (502, Ending.FAILED)
        touched.append(await faulty.end("error"))
        await faulty.begin("empty")
        assert not (await faulty.ask())[0]
        touched.append(await faulty.end("empty"))
        answer, at = await faulty.ask()
        assert answer
        assert at == pytest.approx(usual)
        return touched, bench.servers.conditions[stage].seen

    # What fails or comes to nothing never gets to the server.
    assert with_bench(scenario) == ([1] * 5, 3)


def test_closing_ends_all_that_waits():
    async def scenario(bench):
        pieces = [*(bench.hear() for _ in range(2)), *(bench.write() for _ in range(2))]
        work = asyncio.gather(outcomes(*pieces))
        await asyncio.sleep(0.05)
        await bench.aclose()
        return [type(result).__name__ for result, _ in (await work)[0]]

    stt, waiting, running, refused = with_bench(scenario)
    assert stt == waiting == "BatchRefusedError"
    # What was being written goes on to its end; who waited is told.
    assert (running, refused) == ("list", "LlmError")


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_a_server_that_is_killed_loses_its_work_and_loads_its_model_before_it_works_again(stage):
    async def scenario(bench):
        def work():
            return {"stt": bench.hear, "llm": bench.write, "tts": lambda: bench.tts.synthesise("A sentence.")}[stage]()

        life = getattr(bench, stage).life
        under_way = asyncio.ensure_future(outcomes(work()))
        await asyncio.sleep(0.01)
        await life.kill()
        ((lost, _),) = await under_way
        ((refused, at),) = await outcomes(work())
        began_ns = now_ns()
        await life.start()
        loaded_ms = (now_ns() - began_ns) / 1e6
        ((answer, _),) = await outcomes(work())
        return lost, refused, at, loaded_ms, answer

    lost, refused, at, loaded_ms, answer = with_bench(scenario)
    for error in (lost, refused):
        assert "its server is gone" in str(error)
        assert (error.status, ending_of(error)) == (503, Ending.FAILED)
        assert isinstance(error, LlmError if stage == "llm" else EmulatedFailureError)
    assert at == 0
    assert loaded_ms == pytest.approx(3000)
    assert not isinstance(answer, Exception)
