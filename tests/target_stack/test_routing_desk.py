"""Requests on their way from provider to provider, on virtual time: limits, failures, interruptions, costs."""

import asyncio
import json
import random
from contextlib import aclosing

import numpy as np
import pytest
from virtual_loop import now_ns, run_virtually

from target_stack.call_scope import CallScope, enter_scope
from target_stack.routing.billing import BillingTelemetry
from target_stack.routing.breaker import BreakerState
from target_stack.routing.desk import Desk, Patience
from target_stack.routing.failures import NoProviderError, ProviderError
from target_stack.routing.gate import LoadGate
from target_stack.routing.prices import read_prices
from target_stack.routing.routed import RoutedLlm, RoutedStt, RoutedTts
from target_stack.routing.router import Provider, Router
from target_stack.routing.routing_stats import RoutingStats, render_routing
from target_stack.stages.llm import LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import Speech
from target_stack.stages.worker import QueueFullError
from target_stack.telemetry.events import CallCosted, CallEnded, CallStarted, EventLog, StageRouted, to_json
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit

PRICES = read_prices()
ASK = [Message("user", "Yes please.")]


class Voice:
    """Answers by a script: seconds, or an exception; the last for ever."""

    description = "scripted"

    def __init__(self, *script):
        self.script = list(script) or [0.1]
        self.asked_at = []

    async def synthesise(self, sentence):
        step = self.script[min(len(self.asked_at), len(self.script) - 1)]
        self.asked_at.append(asyncio.get_running_loop().time() - 1000)
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)
        return Speech(np.full(2400, len(sentence), np.int16), 0.0, 0.0)


class Writer:
    """Streams words, then fails where told."""

    description = "scripted"

    def __init__(self, text, error=None):
        self.text, self.error, self.asked = text, error, 0

    async def stream(self, history):
        self.asked += 1
        for word in self.text.split():
            await asyncio.sleep(0.01)
            yield word + " "
        if self.error:
            raise self.error


class Bench:
    """A desk over an own provider of two places and one other, with its books."""

    def __init__(self, stage="tts", patience_ms=3000.0, own_places=2):
        self.stats = RoutingStats()
        self.telemetry = BillingTelemetry(Stats(), EventLog(), self.stats)
        self.own, self.api = Provider("self-hosted", own_places, is_own=True), Provider("api", 50)
        self.router = Router(self.own, [self.api], LoadGate())
        names = {"tts": "elevenlabs-flash", "llm": "gpt-4o", "stt": "deepgram-nova-3"}
        prices = {"self-hosted": PRICES[f"self-hosted-{stage}"], "api": PRICES[names[stage]]}
        self.desk = Desk(
            stage,
            self.router,
            prices,
            self.telemetry,
            self.stats,
            patience=Patience(patience_ms),
            rng=random.Random(1),
            now=now_ns,
        )

    def tts(self, own, api):
        return RoutedTts(self.desk, {"self-hosted": own, "api": api})


def limited(retry_after_s=None):
    return ProviderError("429", status=429, retry_after_s=retry_after_s)


def test_load_over_the_mark_overflows_and_nobody_is_refused():
    async def main():
        bench = Bench(own_places=10)
        tts = bench.tts(Voice(1.0), Voice(0.2))
        spoken = await asyncio.gather(*(tts.synthesise("x" * n) for n in range(1, 31)))
        assert [speech.samples[0] for speech in spoken] == list(range(1, 31))
        return bench.stats.routed

    assert run_virtually(main()) == {("tts", "self-hosted", "own"): 8, ("tts", "api", "overflow"): 22}


def test_a_limited_overflow_sends_to_the_reserve_then_waits_as_it_was_told():
    async def main():
        bench = Bench(own_places=1)
        own, api = Voice(10.0), Voice(limited(1.5), 0.1)
        tts = bench.tts(own, api)
        busy = asyncio.create_task(tts.synthesise("long"))
        await asyncio.sleep(0)
        await tts.synthesise("short")
        await busy
        return bench.stats, api.asked_at, bench.router, now_ns()

    stats, asked_at, router, now = run_virtually(main())
    assert asked_at[0] == 0
    assert 1.5 <= asked_at[1] <= 2.1, "Retry-After was not honoured"
    # Our own might have become free before.
    assert stats.backoffs["tts"] >= 1
    assert not stats.refused
    assert stats.endings["tts", "api", "limited"] == 1
    text = render_routing(stats, {"tts": router}, now)
    assert 'callquake_provider_endings_total{stage="tts",provider="api",ending="limited"} 1' in text
    assert 'callquake_provider_in_flight{stage="tts",provider="api"} 0' in text


def test_those_who_are_told_a_time_do_not_all_come_back_at_it():
    async def main():
        bench = Bench(own_places=50)
        own, api = (Voice(limited(1.0), 0.01) for _ in range(2))
        tts = bench.tts(own, api)
        await asyncio.gather(*(tts.synthesise("x") for _ in range(10)))
        return own.asked_at[1:]

    back_at = run_virtually(main())
    assert len(back_at) == len(set(back_at)) == 10
    assert min(back_at) >= 1.0
    assert max(back_at) - min(back_at) > 0.03


def test_a_time_that_just_fits_the_patience_is_waited_for():
    async def main():
        bench = Bench(own_places=50, patience_ms=1000.0)
        own, api = (Voice(limited(1.0), 0.01) for _ in range(2))
        await bench.tts(own, api).synthesise("x")
        return own.asked_at

    assert run_virtually(main()) == [0.0, pytest.approx(1.0, abs=1e-3)]


def test_a_429_without_a_time_backs_off_and_more_than_the_patience_is_an_error():
    async def main():
        bench = Bench(own_places=1, patience_ms=1000)
        tts = bench.tts(Voice(60.0), Voice(limited()))
        busy = asyncio.create_task(tts.synthesise("long"))
        await asyncio.sleep(0)
        began = now_ns()
        with pytest.raises(NoProviderError, match="tts: no provider has room; last: 429"):
            await tts.synthesise("short")
        waited_s = (now_ns() - began) / 1e9
        busy.cancel()
        await asyncio.wait({busy})
        return bench, waited_s

    bench, waited_s = run_virtually(main())
    assert 0.1 <= waited_s <= 1.0
    assert bench.stats.backoffs["tts"] >= 1
    assert (bench.own.in_flight, bench.api.in_flight) == (0, 0)


def test_our_own_full_queue_is_overflow_not_a_failure():
    async def main():
        bench = Bench()
        speech = await bench.tts(Voice(QueueFullError("tts: 16 jobs wait already")), Voice(0.1)).synthesise("abc")
        return speech.samples[0], bench.stats.routed, bench.own.breaker.state(now_ns())

    samples, routed, state = run_virtually(main())
    assert samples == 3
    assert routed == {("tts", "self-hosted", "own"): 1, ("tts", "api", "failover"): 1}
    assert state is BreakerState.CLOSED


def test_a_provider_that_dies_is_left_alone_and_found_again():
    async def main():
        bench = Bench()
        own = Voice(*[RuntimeError("CUDA error")] * 3, 0.1)
        tts = bench.tts(own, Voice(0.1))
        for _ in range(5):
            await tts.synthesise("abc")
        asked_while_open = len(own.asked_at)
        await asyncio.sleep(6)
        await tts.synthesise("abc")
        return asked_while_open, len(own.asked_at), bench.own.breaker.state(now_ns())

    assert run_virtually(main()) == (3, 4, BreakerState.CLOSED)


def test_when_all_fail_the_last_failure_is_told():
    async def main():
        bench = Bench(patience_ms=0)
        with pytest.raises(ProviderError, match="HTTP 500"):
            await bench.tts(Voice(RuntimeError("own")), Voice(ProviderError("HTTP 500", status=500))).synthesise("a")
        return bench.stats.refused

    assert run_virtually(main()) == {"tts": 1}


@pytest.mark.parametrize("error", [ValueError("no phonemes"), ProviderError("HTTP 400", status=400)])
def test_what_is_the_requests_own_fault_is_not_tried_elsewhere(error):
    async def main():
        bench = Bench()
        api = Voice(0.1)
        with pytest.raises(type(error)):
            await bench.tts(Voice(error), api).synthesise("a")
        return api.asked_at, bench.stats.endings

    assert run_virtually(main()) == ([], {("tts", "self-hosted", "withdrawn"): 1})


def test_a_cancelled_request_gives_its_place_back():
    async def main():
        bench = Bench()
        task = asyncio.create_task(bench.tts(Voice(60.0), Voice(0.1)).synthesise("a"))
        await asyncio.sleep(1)
        assert bench.own.in_flight == 1
        task.cancel()
        await asyncio.wait({task})
        return bench.own.in_flight, bench.stats.endings

    assert run_virtually(main()) == (0, {("tts", "self-hosted", "withdrawn"): 1})


async def read(llm, pieces=None):
    said = []
    async with aclosing(llm.stream(ASK)) as stream:
        async for piece in stream:
            said.append(piece)
            if len(said) == pieces:
                break
    return "".join(said)


def test_a_model_that_fails_before_its_first_word_is_replaced_and_after_it_is_not():
    async def main():
        bench = Bench("llm")
        fails_late = Writer("It is", LlmError("lost"))
        before = RoutedLlm(
            bench.desk, {"self-hosted": Writer("", LlmError("503", status=503)), "api": Writer("Hi you")}
        )
        assert await read(before) == "Hi you "
        api = Writer("never")
        with pytest.raises(LlmError, match="lost"):
            await read(RoutedLlm(bench.desk, {"self-hosted": fails_late, "api": api}))
        return api.asked, bench.own.in_flight, bench.api.in_flight

    assert run_virtually(main()) == (0, 0, 0)


def test_an_interrupted_reply_frees_its_place_is_paid_and_counts_for_its_provider():
    async def main():
        bench = Bench("llm")
        llm = RoutedLlm(bench.desk, {"self-hosted": Writer("one two three"), "api": Writer("x")})
        bench.telemetry.call_started(CallStarted("c1", now_ns()))
        enter_scope(CallScope("c1", 1, 0))
        await asyncio.sleep(60)
        assert await read(llm, pieces=1) == "one "
        bench.telemetry.call_ended(CallEnded("c1", now_ns(), 1))
        return bench

    bench = run_virtually(main())
    assert bench.own.in_flight == 0
    assert bench.stats.endings == {("llm", "self-hosted", "ok"): 1}
    assert bench.stats.usd == {("llm", "self-hosted"): pytest.approx(0.0096, rel=1e-3)}


def test_a_stage_without_any_provider_left_is_a_language_models_error_to_the_pipeline():
    async def main():
        bench = Bench("llm", patience_ms=0)
        busy = LlmError("32 requests are in flight already", status=429)
        with pytest.raises(LlmError, match="llm: no provider has room; last: 32 requests"):
            await read(RoutedLlm(bench.desk, {"self-hosted": Writer("", busy), "api": Writer("", busy)}))

    run_virtually(main())


def test_a_call_tells_who_worked_for_it_and_what_it_cost():
    async def main():
        bench = Bench("stt", own_places=1)
        stt = RoutedStt(bench.desk, {"self-hosted": ScriptedStt(["hello"]), "api": ScriptedStt(["hello"])})
        bench.telemetry.call_started(CallStarted("c1", now_ns()))

        async def turn(number):
            enter_scope(CallScope("c1", number, now_ns()))
            return (await stt.transcribe(np.zeros(16_000, np.int16))).text

        await asyncio.sleep(60)
        assert await asyncio.create_task(turn(1)) == "hello"
        await asyncio.sleep(60)
        bench.router.gate.overflow_at = bench.router.gate.return_below = 0.0
        assert await asyncio.create_task(turn(2)) == "hello"
        await asyncio.sleep(120)
        bench.telemetry.call_ended(CallEnded("c1", now_ns(), 2))
        return bench

    bench = run_virtually(main())
    events = list(bench.telemetry.events.recent)
    assert [(e.turn, e.provider, e.reason) for e in events if isinstance(e, StageRouted)] == [
        (1, "self-hosted", "own"),
        (2, "api", "overflow"),
    ]
    costed, ended = events[-2:]
    assert isinstance(costed, CallCosted)
    assert isinstance(ended, CallEnded)
    assert costed.minutes == pytest.approx(4)
    # A hundredth of a minute would be a twentieth of a short call's price.
    short = to_json(CallCosted("c1", 1, 0.20527, {"total": 0.014369}))
    assert json.loads(short) == {
        "event": "call_costed",
        "call_id": "c1",
        "at_ns": 1,
        "minutes": 0.2053,
        "usd": {"total": 0.014369},
    }
    assert costed.usd == pytest.approx({"stt": 1 * 0.0048 + 3 * 0.0077, "total": 0.0048 + 0.0231}, abs=1e-6)
    assert bench.stats.minutes == pytest.approx(4)
    assert bench.telemetry._bills == {}, "bills of ended calls are kept"
