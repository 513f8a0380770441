"""The light WebRTC edge, with aiortc as the caller: an implementation that shares none of its set-up or media."""

import asyncio
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from edge_peer import Client, Sessions, running_edge, until

from harness.protocols import rtvi
from target_stack.edge.agent_call import CallLimits, EndReason

pytestmark = pytest.mark.loopback


def sockets():
    return sum(
        str(link.readlink()).startswith("socket:") for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
    )


def test_calls_share_a_port_are_heard_speak_and_tell_and_leave_nothing():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions, webrtc="light") as (edge, url):
            async with Client(url) as first, Client(url, "start") as second:
                for client in (first, second):
                    await client.until_said(rtvi.BotReady)
                    await client.until_said(rtvi.BotStoppedSpeaking)
                    client.speak(0.4)
                    await client.until_said(rtvi.BotStoppedSpeaking, 2)
                ports = {line for c in (first, second) for line in c.answer["sdp"].splitlines() if "candidate:" in line}
                assert len(ports) == 1
                assert edge.counts.active_calls == 2
            await until(lambda: edge.counts.active_calls == 0, "released")
            assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 2}
            # Those of all calls, once they have ended.
            lines = edge._ground.lines
            assert lines.heard > 20
            assert (lines.lost, lines.srtp_failures) == (0, 0)
        for session in sessions.made:
            assert session.playout == [("started", 0), ("drained", 0), ("started", 1), ("drained", 1)]
            assert session.first_dtype == (np.dtype(np.int16), 1)
            assert 0.3 < session.loud_samples / 16_000 < 0.5
        assert [s.closes for s in sessions.made] == [1, 1]

    before = sockets()
    asyncio.run(scenario())
    assert sockets() == before


def test_the_agent_hangs_up_and_a_caller_that_falls_silent_is_let_go():
    async def scenario():
        limits = CallLimits(media_silence_s=0.4)
        async with running_edge(Sessions(), webrtc="light", limits=limits) as (edge, url):
            async with Client(url, request_data={"call_id": "c"}) as client:
                await client.until_said(rtvi.BotReady)
                assert edge.calls.hang_up("c")
                await client.until_said(rtvi.PeerLeft)
            async with Client(url) as client:
                await client.until_heard()
                await client.sender.stop()
                await until(lambda: edge.counts.calls_ended[EndReason.MEDIA_LOST], "let go")
            assert edge.counts.calls_ended == {EndReason.HUNG_UP: 1, EndReason.MEDIA_LOST: 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sdp: sdp.replace("a=sendrecv", "a=recvonly"), "audio is recvonly, it must be sendrecv"),
        (lambda sdp: sdp.replace("opus/48000", "speex/8000"), "its audio shares no codec with ours"),
        (lambda sdp: sdp.replace("a=ice-pwd", "a=x"), "its audio has no a=ice-ufrag, a=ice-pwd or a=fingerprint"),
        (
            lambda sdp: sdp.replace("UDP/DTLS/SCTP", "x").replace("a=mid:1", "a=mid:0"),
            "each media section needs its own",
        ),
    ],
)
def test_an_offer_that_cannot_be_answered_is_refused_and_takes_no_place(change, message):
    async def scenario():
        client = Client("")
        body = await client.offer()
        await client.pc.close()
        async with running_edge(Sessions(), webrtc="light") as (edge, url), aiohttp.ClientSession() as http:
            async with http.post(f"{url}/api/offer", json=body | {"sdp": change(body["sdp"])}) as answer:
                assert answer.status == 400
                assert message in (await answer.json())["error"]
            assert edge.counts.active_calls == 0

    asyncio.run(scenario())
