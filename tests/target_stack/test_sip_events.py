"""What the agent tells about a SIP call: RTVI over the WebSocket that its 200 names."""

import asyncio
import contextlib

import aiohttp
import pytest
from edge_peer import READY, TRANSCRIPT, Sessions, running_edge, until
from rtp_peer import in_packets
from sip_peer import SipClient

from harness.media.codecs import PCMU
from harness.protocols import rtvi
from target_stack.edge.agent_call import EndReason
from target_stack.edge.sip_edge import SipEdge
from target_stack.edge.sip_options import SipOptions

pytestmark = pytest.mark.loopback


@contextlib.asynccontextmanager
async def running_both(sessions):
    """Yield (HTTP edge, its URL, SIP edge, its address)."""
    async with running_edge(sessions) as (http, url):
        sip = SipEdge(
            sessions,
            SipOptions(port=0),
            readiness=lambda: READY,
            names=http.names,
            streams=http.streams,
            events_base=lambda _host: url.replace("http", "ws"),
        )
        addresses = await sip.start()
        host, _, port = addresses.udp.removeprefix("sip:").rpartition(":")
        try:
            yield http, url, sip, (host, int(port))
        finally:
            await sip.aclose()


async def one_turn(call, session):
    call.speak(in_packets(PCMU))
    for _ in range(15):
        call.speak([PCMU.silence])
        await asyncio.sleep(0.02)
    await until(lambda: ("drained", 1) in session.playout, "answered")


def test_transcripts_and_times_of_a_call():
    async def scenario():
        sessions, told = Sessions(), []
        async with running_both(sessions) as (_, _, edge, address), SipClient(address) as client:
            call = await client.call(headers=(("X-Call-Id", "call-1"),))
            await until(lambda: sessions.made and ("drained", 0) in sessions.made[0].playout, "greeted")
            await one_turn(call, sessions.made[0])
            # All of it was told before anybody listened, and is kept.
            async with aiohttp.ClientSession() as http:
                url = call.answered.response.get("X-Callquake-Events")
                async with http.ws_connect(url) as socket:
                    await socket.send_str(rtvi.build(rtvi.ClientReady("1")))
                    await socket.send_str("no message")
                    while not told or not isinstance(told[-1], rtvi.ErrorMessage):
                        told.append(rtvi.parse((await socket.receive(5)).data))
                    call.hang_up()
                    assert (await socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
                # A token serves no longer than its call.
                await until(lambda: not edge.counts.active_calls, "released")
                async with http.get(url.replace("ws", "http")) as gone:
                    assert gone.status == 404
        kinds = [type(message) for message in told]
        assert kinds.index(rtvi.BotStartedSpeaking) < kinds.index(rtvi.UserTranscription)
        assert {rtvi.BotReady, rtvi.TurnTimingMessage, rtvi.Metrics, rtvi.BotStoppedSpeaking} <= set(kinds)
        (transcript,) = [message for message in told if isinstance(message, rtvi.UserTranscription)]
        assert (transcript.text, transcript.is_final) == (TRANSCRIPT, True)

    asyncio.run(scenario())


def test_a_client_may_end_the_call_and_another_may_take_its_place():
    async def scenario():
        sessions = Sessions()
        async with running_both(sessions) as (_, _, edge, address), SipClient(address) as client:
            call = await client.call()
            url = call.answered.response.get("X-Callquake-Events")
            async with aiohttp.ClientSession() as http, http.ws_connect(url) as first, http.ws_connect(url) as second:
                while (await first.receive(5)).type is aiohttp.WSMsgType.TEXT:
                    pass
                await second.send_str(rtvi.build(rtvi.DisconnectBot()))
                await until(lambda: client.ends(call), "hung up")
            assert client.ends(call)[0].cause == "remote"
            await until(lambda: edge.counts.calls_ended == {EndReason.CLIENT_DISCONNECTED: 1}, "counted")

    asyncio.run(scenario())


def test_names_are_shared_with_the_other_edges():
    async def scenario():
        sessions = Sessions()
        async with running_both(sessions) as (http, _, _, address), SipClient(address) as client:
            taken = http.names.take("call-1")
            call = await client.call(headers=(("X-Call-Id", "call-1"),))
            assert call.answered.response.get("X-Call-Id") == "call-1.2"
            odd = await client.call(headers=(("X-Call-Id", "../../etc/passwd"),))
            assert odd.answered.response.get("X-Call-Id") == odd.leg.id
            http.names.release(taken)

    asyncio.run(scenario())
