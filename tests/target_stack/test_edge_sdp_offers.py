"""The edge's plain-SDP dialects: the rules of WHIP, and OpenAI's events beside a call."""

import asyncio

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from edge_peer import TRANSCRIPT, Client, Sessions, running_edge, until

from harness.media.peer.seam import use_host_addresses
from harness.protocols import openai_realtime as realtime
from harness.protocols import whip

pytestmark = pytest.mark.loopback

SDP = {"Content-Type": whip.SDP_TYPE}


async def an_offer():
    use_host_addresses(["127.0.0.1"])
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = pc.localDescription.sdp
    await pc.close()
    return sdp


def test_whip_holds_its_clients_to_the_rfc():
    async def scenario():
        async with running_edge(Sessions()) as (edge, url), aiohttp.ClientSession(url) as http:
            async with http.options("/whip") as reply:
                assert reply.headers["Accept-Post"] == whip.SDP_TYPE
            offer = await an_offer()
            assert await status(http.post("/whip", data=offer, headers={"Content-Type": "text/plain"})) == 415
            assert await status(http.post("/whip", data="v=0", headers=SDP)) == 400
            assert await status(http.post("/whip", data=offer, headers={**SDP, "X-Call-Id": "no name"})) == 400
            async with http.post("/whip", data=offer, headers={**SDP, "X-Call-Id": "call-7"}) as reply:
                assert reply.status == 201
                assert reply.content_type == whip.SDP_TYPE
                assert (await reply.text()).startswith("v=0")
                session, etag = reply.headers["Location"], reply.headers["ETag"]
            assert edge.counts.active_calls == 1
            await patch_rules(http, session, etag)
            assert await status(http.get(session)) == 405
            assert await status(http.delete(session)) == 200
            await until(lambda: edge.counts.active_calls == 0, "ended")
            assert await status(http.delete(session)) == 404
            assert edge.counts.calls_ended["client_disconnected"] == 1
            assert edge.counts.offers == {415: 1, 400: 2, 201: 1}

    asyncio.run(scenario())


async def patch_rules(http, session, etag):
    candidate = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
    body = whip.build_fragment(whip.Fragment("u", "p", (candidate,), is_complete=True), ["0"])
    typed = {"Content-Type": whip.FRAGMENT_TYPE}
    wanted = {
        428: typed,
        412: {**typed, "If-Match": '"other"'},
        422: {**typed, "If-Match": "*"},
        415: {"If-Match": etag},
        204: {**typed, "If-Match": etag},
    }
    for code, headers in wanted.items():
        assert await status(http.patch(session, data=body, headers=headers)) == code
    bad = {**typed, "If-Match": etag}
    assert await status(http.patch(session, data="a=mid:0", headers=bad)) == 400
    assert await status(http.patch("/whip/nobody", data=body, headers=bad)) == 404


async def status(asked):
    async with asked as reply:
        return reply.status


def test_a_realtime_call_needs_a_token():
    async def scenario():
        async with running_edge(Sessions()) as (_, url), aiohttp.ClientSession(url) as http:
            offer = await an_offer()
            for token in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}):
                reply = http.post("/v1/realtime/calls", data=offer, headers={**SDP, **token})
                assert await status(reply) == 401

    asyncio.run(scenario())


class RealtimeClient(Client):
    """Calls as OpenAI's page does; `told` is what came on oai-events."""

    label = "oai-events"

    def __init__(self, url):
        super().__init__(url, "/v1/realtime/calls", sends_ready=False)
        self.told = []

    def _got(self, text):
        self.told.append(realtime.parse(text))

    async def __aenter__(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {**SDP, "Authorization": "Bearer ek_1"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + self.path, data=self.pc.localDescription.sdp, headers=headers) as reply,
        ):
            assert reply.status == 201
            assert reply.headers["Location"].startswith("/v1/realtime/calls/")
            await self.pc.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
        return self


def test_a_conversation_told_in_realtime_events():
    async def scenario():
        async with running_edge(Sessions()) as (_, url), RealtimeClient(url) as client:
            await until(lambda: realtime.OutputAudio(False) in client.told, "greeted")
            client.speak(0.4)
            done = realtime.ResponseDone("resp_1", "completed")
            await until(lambda: done in client.told, "answered")
            client.channel.send('{"type": "session.update"}')
            await until(lambda: isinstance(client.told[-1], realtime.Problem), "refused")
            return client.told

    told = asyncio.run(scenario())
    assert isinstance(told[0], realtime.Session)
    assert told[0].transcribes
    turn = told[told.index(realtime.SpeechStarted("item_1")) :]
    assert turn[:-1] == [
        realtime.SpeechStarted("item_1"),
        realtime.SpeechStopped("item_1"),
        realtime.UserTranscript("item_1", TRANSCRIPT),
        realtime.AgentTranscriptDelta("resp_1", "Nine to five."),
        realtime.AgentTranscript("resp_1", "Nine to five."),
        realtime.OutputAudio(True),
        realtime.OutputAudio(False),
        realtime.ResponseDone("resp_1", "completed"),
    ]
    assert turn[-1].code == "invalid_request_error"
