"""What an agent tells over a WebSocket beside the call; that there is none, or a broken one, never touches the call."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from sip_agent import SipAgent, answer, sdp
from sip_bench import SipBench
from stream_agent import Bench, StreamAgent, next_of

from harness.callers.event_socket import EventSocket
from harness.callers.exchange import TranscriptChannel, UserTranscript
from harness.protocols import rtvi
from harness.protocols.sip import events

pytestmark = pytest.mark.loopback

TRANSCRIPT = {
    "label": "rtvi-ai",
    "type": "user-transcription",
    "data": {"text": "hello", "user_id": "", "timestamp": "2026-01-01T00:00:00Z", "final": True},
}


class Server:
    """Serves /events; sends what it is told, after the client's first message."""

    def __init__(self, *messages):
        self.messages, self.heard = messages, []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/events", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}/events"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.heard.append(await socket.receive_str())
        for message in self.messages:
            await socket.send_str(message)
        async for _ in socket:
            pass
        return socket


def test_transcripts_of_a_sip_call_come_over_the_socket_its_answer_names():
    async def main():
        async with Server("nonsense", json.dumps(TRANSCRIPT)) as server:

            def script(agent, event):
                if isinstance(event, events.Incoming):
                    event.call.accept(sdp(), agent.now(), headers=(("X-Callquake-Events", server.url),))
                else:
                    answer(agent, event)

            async with SipAgent(script) as agent, SipBench() as bench:
                caller, heard = await bench.connect(agent.url)
                told = [await asyncio.wait_for(heard.get(), 10) for _ in range(2)]
                assert [type(event) for event in told] == [TranscriptChannel, UserTranscript]
                assert told[1].text == "hello"
                assert isinstance(rtvi.parse(server.heard[0]), rtvi.ClientReady)
                await caller.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/", "http://127.0.0.1:1/", "file:///etc/passwd", "ws://", "ws://[", "", "\0"]
)
def test_a_socket_that_cannot_be_had_is_none(url):
    async def main():
        posted = []
        async with aiohttp.ClientSession() as http:
            socket = EventSocket(http, posted.append)
            socket.follow(url)
            await asyncio.sleep(0.05)
            await socket.aclose()
        assert posted == []

    asyncio.run(main())


def test_a_media_stream_that_names_an_address_has_transcripts_and_leaves_with_its_call():
    async def main():
        async with Server(json.dumps(TRANSCRIPT)) as server, Bench() as bench:
            async with StreamAgent(headers={"X-Callquake-Events": server.url}) as agent:
                caller, events = await bench.connect(agent.url, dialect="twilio")
                assert await next_of(events, TranscriptChannel) == TranscriptChannel("rtvi")
                assert (await next_of(events, UserTranscript)).text == "hello"
                await caller.close()
                assert caller._side._task.done()
            async with StreamAgent() as silent:
                caller, _ = await bench.connect(silent.url, dialect="twilio")
                assert caller._side._task is None

    asyncio.run(main())
