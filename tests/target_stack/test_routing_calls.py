"""Calls over the router: scripted stages of our own, the stand-in provider over HTTP, load across the 80 % mark."""

import asyncio
import json

import numpy as np
import pytest
from recording_sink import RecordingSink, VirtualClock, silence, speak, tone

from harness.model.clock import NS_PER_S
from harness.model.errors import ScenarioError
from target_stack.frames import INPUT_RATE, SPEECH_RATE, StageFailed
from target_stack.pipeline.reply import NO_SAMPLES, ReplyRules
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.routing.billing import BillingTelemetry
from target_stack.routing.failures import ProviderError
from target_stack.routing.http_speech import HttpStt, HttpTts, SpeechEndpoint
from target_stack.routing.routes import read_routes
from target_stack.routing.routing_stats import RoutingStats
from target_stack.routing.standin import StandIn, StandInRules
from target_stack.routing.switchboard import Switchboard
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.llm import LlmError, LlmOptions, OpenAiClient, ScriptedLlm
from target_stack.stages.prompt import Message
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts
from target_stack.stages.vad import ScriptedVad
from target_stack.telemetry.events import CallCosted, EventLog, StageRouted, TurnFinished
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.loopback

OVERFLOW = """
throughout: [twilio]
tts:
  own: {capacity: 5}
  others: [{name: flash, url: standin, price: elevenlabs-flash, standin: {latency_ms: 10, %s}}]
"""


class SlowTts(ScriptedTts):
    """Our own, which takes its time; fails the test where more than its capacity is asked at once."""

    at_once = most = 0

    async def synthesise(self, sentence):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0.4)
            return await super().synthesise(sentence)
        finally:
            self.at_once -= 1


class Calls:
    """A stack of scripted stages behind the switchboard, on one virtual clock; providers are real HTTP."""

    def __init__(self, routes):
        self.clock, self.stats = VirtualClock(), RoutingStats()
        self.telemetry = BillingTelemetry(Stats(), EventLog(), self.stats, routes.throughout)
        self.board = Switchboard(routes, self.telemetry, self.stats, environment={}, now=self.clock)
        self.own = SlowTts()
        self.calls = []

    async def __aenter__(self):
        await self.board.start()
        board = self.board
        self.stages = Stages(
            ScriptedVad, board.stt(ScriptedStt(["yes"])), board.llm(ScriptedLlm(["It is noon."])), board.tts(self.own)
        )
        return self

    async def __aexit__(self, *_):
        await asyncio.gather(*(session.aclose() for session, _ in self.calls if session is not None))
        await self.board.aclose()

    async def call(self, count):
        """Have so many callers ask something at the same time; return when all have been answered."""
        for number in range(count):
            sink = RecordingSink()
            session = Session(
                f"call-{len(self.calls) + number}",
                sink,
                stages=self.stages,
                rules=SessionRules(EndpointRules(), ReplyRules()),
                greeting=Greeting("", NO_SAMPLES),
                telemetry=self.telemetry,
                now=self.clock,
            )
            await session.start()
            self.calls.append((session, sink))
        new = self.calls[-count:]
        await asyncio.gather(*(speak(session, self.clock, tone(400), silence(600)) for session, _ in new))
        await asyncio.gather(*(sink.until_played(1, 20.0) for _, sink in new))
        for session, _ in new:
            session.playout_started(1, self.clock())
            session.playout_drained(1, self.clock())

    async def hang_up(self, after_s):
        """End all calls, and return what they cost a minute."""
        self.clock.now_ns += after_s * NS_PER_S
        for session, _ in self.calls:
            await session.aclose()
        costs = [event for event in self.telemetry.events.recent if isinstance(event, CallCosted)]
        self.calls = [(None, sink) for _, sink in self.calls]
        return sum(cost.usd["total"] for cost in costs) / sum(cost.minutes for cost in costs), costs

    def told(self, kind):
        return [event for event in self.telemetry.events.recent if isinstance(event, kind)]


def routes_of(tmp_path, text):
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    return read_routes(path)


def calling(scenario, routes):
    async def main():
        async with Calls(routes) as calls:
            return await scenario(calls)

    return asyncio.run(main())


@pytest.mark.parametrize(("count", "overflowing"), [(3, 0), (4, 0), (5, 1), (12, 8)])
def test_from_eighty_per_cent_on_calls_overflow_and_cost_what_the_table_says(count, overflowing, tmp_path):
    async def scenario(calls):
        await calls.call(count)
        a_minute, costs = await calls.hang_up(after_s=120)
        return calls, a_minute, costs

    calls, a_minute, costs = calling(scenario, routes_of(tmp_path, OVERFLOW % "per_minute: 0"))
    # No call was dropped, none refused, none told of a failure.
    assert [turn.outcome for turn in calls.told(TurnFinished)] == ["answered"] * count
    assert [sink.told(StageFailed) for _, sink in calls.calls] == [[]] * count
    assert calls.own.most == count - overflowing
    routed = calls.told(StageRouted)
    assert sum(event.provider == "flash" for event in routed) == overflowing
    assert {event.reason for event in routed if event.provider == "flash"} <= {"overflow"}
    # Every call used one provider, so all of its minutes have that one's price.
    by_tts = (count - overflowing) * 0.0024 + overflowing * 0.07
    always = 0.0048 + 0.0096 + 0.015
    assert [cost.usd["tts"] / cost.minutes for cost in costs].count(pytest.approx(0.07, rel=1e-3)) == overflowing
    assert a_minute == pytest.approx(always + by_tts / count, rel=0.02)


def test_a_provider_that_says_429_makes_calls_wait_and_loses_none(tmp_path):
    async def scenario(calls):
        await calls.call(12)
        return calls, calls.board.standins["tts:flash"]

    calls, flash = calling(scenario, routes_of(tmp_path, OVERFLOW % "per_minute: 0, at_once: 2"))
    assert [turn.outcome for turn in calls.told(TurnFinished)] == ["answered"] * 12
    assert flash.limited["tts"] >= 1
    assert calls.own.most <= 5
    reasons = {event.reason for event in calls.told(StageRouted)}
    assert {"own", "overflow"} <= reasons


def test_a_provider_that_is_down_is_replaced_by_our_own_last_fifth(tmp_path):
    async def scenario(calls):
        calls.board.standins["tts:flash"].failing = 503
        await calls.call(5)
        return calls

    calls = calling(scenario, routes_of(tmp_path, OVERFLOW % "per_minute: 0"))
    assert [turn.outcome for turn in calls.told(TurnFinished)] == ["answered"] * 5
    assert calls.stats.endings["tts", "flash", "failed"] == 1
    assert calls.own.most == 5


def test_metrics_and_health_tell_of_providers(tmp_path):
    async def scenario(calls):
        await calls.call(5)
        return calls.board.metrics(), calls.board.simulated()

    text, simulated = calling(scenario, routes_of(tmp_path, OVERFLOW % "per_minute: 0"))
    assert 'callquake_routed_total{stage="tts",provider="flash",reason="overflow"} 1' in text
    assert 'callquake_provider_capacity{stage="tts",provider="self-hosted"} 5' in text
    assert simulated == ("tts: provider flash is a local stand-in",)


def test_a_missing_key_is_told_before_any_call(tmp_path):
    routes = routes_of(
        tmp_path, "tts: {others: [{name: flash, url: standin, price: elevenlabs-flash, key_env: FLASH_KEY}]}"
    )
    with pytest.raises(ScenarioError, match="provider flash: its key is missing; set FLASH_KEY"):
        calling(lambda _: asyncio.sleep(0), routes)


@pytest.mark.parametrize("is_answered", [False, True], ids=["before the answer", "in the answer"])
def test_a_standin_whose_client_has_gone_says_nothing(caplog, is_answered):
    """A reply that is interrupted closes its request: no error of the stand-in's."""
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"

    async def main():
        server = StandIn(StandInRules(latency_ms=50, word_ms=20))
        url = await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head % (len(body) + (not is_answered)) + body)
        await writer.drain()
        if is_answered:
            await reader.readuntil(b"data:")
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not server.requests["llm"] or server._at_once["llm"]:
                await asyncio.sleep(0.01)
        await server.aclose()

    asyncio.run(main())
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def with_standin(work, **rules):
    async def main():
        server = StandIn(StandInRules(latency_ms=0, word_ms=0, **rules))
        url = await server.start()
        clients = [
            HttpTts(SpeechEndpoint(url), "tts"),
            HttpStt(SpeechEndpoint(url), "stt"),
            OpenAiClient(LlmOptions(url), "llm"),
        ]
        try:
            return await work(server, *clients)
        finally:
            for client in clients:
                await client.aclose()
            await server.aclose()

    return asyncio.run(main())


async def written(llm):
    return "".join([piece async for piece in llm.stream([Message("user", "Hello.")])])


def test_the_three_endpoints_speak_hear_and_write():
    async def work(server, tts, stt, llm):
        return await tts.synthesise("a" * 50), await stt.transcribe(np.ones(INPUT_RATE, np.int16)), await written(llm)

    speech, heard, reply = with_standin(work)
    assert len(speech.samples) == 3 * SPEECH_RATE
    assert speech.samples.dtype == np.int16
    assert np.abs(speech.samples).max() > 10_000
    assert heard.text == "could you say that again please"
    assert reply.startswith("Of course,")


def test_a_limit_is_told_with_when_to_come_back():
    async def work(server, tts, stt, llm):
        for client in (tts.synthesise("a"), stt.transcribe(np.zeros(160, np.int16)), written(llm)):
            await client
        errors = []
        for client in (tts.synthesise("a"), stt.transcribe(np.zeros(160, np.int16)), written(llm)):
            with pytest.raises((ProviderError, LlmError)) as error:
                await client
            errors.append((error.value.status, error.value.retry_after_s))
        return errors, server.limited

    errors, limited = with_standin(work, per_minute=6, burst=1)
    assert errors == [(429, 10.0)] * 3
    assert limited == {"tts": 1, "stt": 1, "llm": 1}


def test_what_is_no_answer_is_the_providers_failure():
    async def work(server, tts, stt, llm):
        server.failing = 500
        with pytest.raises(ProviderError, match=r"/v1/audio/speech: HTTP 500: .*failing"):
            await tts.synthesise("a")
        server.failing = 0
        with pytest.raises(ProviderError, match="HTTP 400"):
            await tts.synthesise("")
        await server.aclose()
        with pytest.raises(ProviderError, match="/v1/audio/transcriptions"):
            await stt.transcribe(np.zeros(160, np.int16))

    with_standin(work)
