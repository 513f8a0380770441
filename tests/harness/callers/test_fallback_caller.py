"""WebRTC calls whose media are kept from coming through, and the WebSocket that the answer names."""

import asyncio
import contextlib
import re
import socket
from types import SimpleNamespace

import pytest
from sdp_agents import Bench as PeerBench
from sdp_agents import JsonAgent, until
from stream_agent import StreamAgent, voice

from harness.callers.call import Call
from harness.callers.conduct import Conduct
from harness.callers.fallback import FALLBACK_CODEC, FallbackCaller, fallback_target
from harness.callers.media_stream_host import StreamHost
from harness.callers.setup_failure import SetupFailure
from harness.callers.webrtc import WebRtcCaller
from harness.media.events import AgentOnset
from harness.media.hot.stream_ear import compile_stream_ears
from harness.model.plan import PROPER, CallLimits, CallPlan, IceServer, IceSpec, Patience, Persona, TargetSpec
from harness.model.records import Cause

pytestmark = pytest.mark.loopback
TOKEN = {"Authorization": "Bearer let-me-in", "Sec-WebSocket-Key": "ours"}
AFTER_MS = 300.0


class Agent(JsonAgent):
    """Answers offers, and names `told` as the way to go on by."""

    told = None

    async def post(self, request):
        response = await super().post(request)
        if self.told is not None:
            response.headers["X-Callquake-Fallback"] = self.told
        return response


class Bench(PeerBench):
    """Callers that fall back, on one media loop and one host of streams."""

    async def __aenter__(self):
        compile_stream_ears()
        await super().__aenter__()
        self.host = StreamHost(self.http)
        return self

    async def __aexit__(self, *_):
        for caller in self.callers:
            with contextlib.suppress(Exception):
                await caller.close()
        self.host.close()
        await super().__aexit__()

    def falling(self, url, *, sabotage="blocked_udp", **target):
        target = {"fallback": "websocket", "fallback_after_ms": AFTER_MS, **target}
        plan = CallPlan(
            call_id="call-1",
            index=0,
            due_ms=None,
            caller="c",
            persona=Persona("n", "1", "r", "american", "unlimited"),
            patience=Patience("unlimited", 0.0, 1.0, 0),
            turns=(),
            target=TargetSpec(url, **target),
            limits=CallLimits(connect_timeout_ms=10_000),
            trace=True,
            sabotage=sabotage,
        )
        events = []
        first = WebRtcCaller(plan, self.http, self.peers, self.loop, events.append)
        caller = FallbackCaller(plan, first, self.host, events.append)
        caller.events = events
        self.callers.append(caller)
        return caller

    async def up(self, caller):
        async with self.queue.turn(None) as turn:
            await caller.connect(turn)
        return caller

    async def refused(self, caller):
        async with self.queue.turn(None) as turn:
            with pytest.raises(SetupFailure) as caught:
                await caller.connect(turn)
        return caught.value


async def greet(talk):
    await talk.say(voice(talk.codec, 300), 160)


def run(scenario, **options):
    async def main():
        async with Bench() as bench, StreamAgent(greet, **options) as stream, Agent() as agent:
            agent.told = stream.url
            await scenario(bench, stream, agent)

    asyncio.run(main())


def test_a_call_whose_udp_is_blocked_is_heard_and_speaks_over_the_websocket():
    async def scenario(bench, stream, agent):
        agent.told = f"{stream.url}?replaces=7"
        caller = await bench.up(bench.falling(agent.url, headers=TOKEN))
        assert (caller.transport, caller.codec) == ("media_stream", FALLBACK_CODEC)
        assert (caller.fallback.cause, caller.stream.dialect) == (Cause.ICE_FAILED, "twilio")
        # Not before its time, and the WebSocket's share is told apart; the sum is the set-up's.
        assert caller.fallback.after_ms >= AFTER_MS
        assert caller.setup.total_ms >= caller.fallback.after_ms + caller.fallback.took_ms
        assert caller.setup.signalling_ms < caller.fallback.after_ms
        assert caller.setup.ice_ms is None
        (talk,) = stream.talks
        assert talk.query == {"replaces": "7"}
        # Another port is another origin.
        assert "Authorization" not in talk.headers
        await until(lambda: any(isinstance(e, AgentOnset) for e in caller.events), "the greeting")
        await until(talk.speaks.is_set, "heard")
        assert caller.details["fallback"]["stream"]["dialect"] == "twilio"
        await caller.close()
        await until(talk.closed.is_set, "hung up")
        await caller.close()

    run(scenario)


def test_a_certificate_that_is_not_the_announced_one_leads_there_too():
    async def scenario(bench, _stream, agent):
        answer = agent.answer

        async def of_somebody_else(sdp, name):
            return re.sub("(a=fingerprint:[^ ]+) ..:..", r"\1 00:11", await answer(sdp, name))

        agent.answer = of_somebody_else
        caller = await bench.up(bench.falling(agent.url, sabotage="", fallback_after_ms=8_000.0))
        assert caller.fallback.cause is Cause.DTLS_FAILED

    run(scenario)


def test_a_call_that_comes_up_by_webrtc_stays_there():
    async def scenario(bench, stream, agent):
        caller = await bench.up(bench.falling(agent.url, sabotage="", fallback_after_ms=8_000.0))
        assert (caller.transport, caller.codec, caller.fallback, caller.stream) == ("webrtc", None, None, None)
        assert caller.candidate_types == ("host", "host")
        assert caller.setup.ice_ms is not None
        await caller.close()
        assert stream.talks == []

    run(scenario)


def test_a_relay_that_is_not_there_still_lets_the_offer_go_out_for_its_answer_names_the_way():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        server = IceServer((f"turn:127.0.0.1:{dead.getsockname()[1]}?transport=udp",), "u", "c")

        async def scenario(bench, stream, agent):
            caller = await bench.up(bench.falling(agent.url, sabotage="", ice=IceSpec("relay", (server,))))
            assert caller.fallback.detail.startswith("no relay candidate: TURN turn:127.0.0.1")
            assert caller.fallback.after_ms >= AFTER_MS
            assert len(agent.seen) == len(stream.talks) == 1

        run(scenario)


def test_an_address_of_ones_own_needs_no_word_of_the_agent():
    async def scenario(bench, stream, agent):
        agent.told = None
        caller = await bench.up(bench.falling(agent.url, fallback=stream.url))
        assert caller.transport == "media_stream"

    run(scenario)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "the agent's answer has no X-Callquake-Fallback"),
        ("http://127.0.0.1/stream", "'http://127.0.0.1/stream' is no address of a WebSocket"),
        ("ws://[", "no WebSocket to fall back to"),
        ("ws://127.0.0.1:70000/", "no WebSocket to fall back to"),
    ],
)
def test_an_answer_without_a_way_leaves_the_call_failed_by_what_failed_first(told, words):
    async def scenario(bench, _stream, agent):
        agent.told = told
        caller = bench.falling(agent.url)
        error = await bench.refused(caller)
        assert error.cause is Cause.ICE_FAILED
        assert words in error.detail
        assert error.detail.startswith("no ICE candidate pair worked")
        # Nothing was tried.
        assert caller.fallback is None
        assert caller.transport == "webrtc"

    run(scenario)


def test_a_websocket_that_is_refused_is_told_and_the_first_failure_names_the_call():
    async def scenario(bench, _stream, agent):
        caller = bench.falling(agent.url)
        error = await bench.refused(caller)
        assert error.cause is Cause.ICE_FAILED
        assert "the WebSocket fallback failed, too: signalling_refused" in error.detail
        assert "HTTP 503" in error.detail
        assert (caller.fallback.took_ms, caller.transport, caller.media) == (None, "webrtc", None)

    run(scenario, refuse=(503, {}, "full"))


def test_what_is_no_failure_of_media_is_not_fallen_back_from():
    async def scenario(bench, stream, agent):
        caller = bench.falling(agent.origin + "/nowhere")
        assert (await bench.refused(caller)).cause is Cause.SIGNALLING_REFUSED
        assert caller.fallback is None
        assert stream.talks == []

    run(scenario)


@pytest.mark.parametrize(
    ("url", "agent", "is_same"),
    [
        ("ws://h:8080/stream", "http://h:8080/api/offer", True),
        ("wss://h/stream", "https://h:443/api/offer", True),
        ("ws://h/stream", "http://h:80/o", True),
        ("ws://h/stream", "https://h/o", False),
        ("ws://h:8081/stream", "http://h:8080/o", False),
        ("ws://i:8080/stream", "http://h:8080/o", False),
    ],
)
def test_headers_go_to_the_agents_own_origin_only(url, agent, is_same):
    found = fallback_target(TargetSpec(agent, headers=TOKEN, name="web"), url)
    # The handshake's own headers are never taken from the scenario.
    assert found.headers == ({"Authorization": TOKEN["Authorization"]} if is_same else {})
    assert (found.transport, found.codec, found.name) == ("media_stream", "PCMU", "web")


def test_a_call_that_may_fall_back_can_vanish_as_long_as_webrtc_carries_it():
    async def main():
        gone = []
        first = WebRtcCaller.__new__(WebRtcCaller)
        first.media, first.vanish = object(), lambda: gone.append("WebRTC")
        call = Call.__new__(Call)
        call._caller = FallbackCaller(None, first, None, None)
        call._talk = asyncio.get_running_loop().create_future()
        call.conduct = Conduct(PROPER, "1")
        assert call.vanish("on purpose")
        call._caller._second = SimpleNamespace(media=object())
        return gone, call.conduct.is_gone, call.can_vanish

    assert asyncio.run(main()) == (["WebRTC"], True, False)
