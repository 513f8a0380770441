"""The agent's edge for media streams, called by a carrier's end of every dialect."""

import asyncio
import base64
import contextlib

import aiohttp
import numpy as np
import pytest
from edge_peer import TRANSCRIPT, Client, Sessions, running_edge, until

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.codecs import L16_8K, L16_16K, PCMA, PCMU
from harness.media.payload_decoder import PayloadDecoder
from harness.protocols import rtvi
from harness.protocols.media_streams.dialects import DIALECTS, TWILIO
from harness.protocols.media_streams.messages import AgentAudio, Clear
from harness.protocols.media_streams.stream import CarrierEnd, Identity
from target_stack.edge.agent_call import CallLimits
from target_stack.frames import SpeechOut
from target_stack.readiness import Readiness

pytestmark = pytest.mark.loopback
CODECS = {codec.name: codec for codec in (PCMU, PCMA, L16_8K, L16_16K)}


class Carrier:
    """A carrier's end with a WebSocket under it."""

    def __init__(self, socket, dialect, audio, parameters):
        self.end = CarrierEnd(dialect, audio, Identity("+15550100", "", parameters))
        self.codec = CODECS[audio.name]
        self.socket = socket
        self.said = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for message in self.socket:
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.said.append(self.end.receive(message.data))

    async def send(self, message):
        await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_bytes(message))

    async def speak(self, payloads):
        for index, payload in enumerate(payloads):
            audio = payload if self.end.dialect.is_binary else base64.b64encode(payload).decode()
            await self.send(self.end.audio(audio, index * 20))
            await asyncio.sleep(0.002)

    def heard(self):
        decoder = PayloadDecoder(self.codec)
        parts = [decoder.decode(said.payload) for said in self.said if isinstance(said, AgentAudio)]
        return np.concatenate([np.zeros(0, np.int16), *parts])

    async def close(self):
        await self.socket.close()
        await asyncio.wait_for(self._reading, 5)


@contextlib.asynccontextmanager
async def carrier(base, dialect=TWILIO, audio=None, path="/twilio", **parameters):
    audio = audio or next(iter(dialect.formats))
    async with aiohttp.ClientSession() as http:
        protocols = (dialect.subprotocol,) if dialect.subprotocol else ()
        async with http.ws_connect(base.replace("http", "ws") + path, protocols=protocols) as socket:
            made = Carrier(socket, dialect, audio, parameters)
            for message in made.end.open():
                await made.send(message)
            yield made
            await made.close()


def loud(samples):
    return int(np.sum(np.abs(samples.astype(int)) > 3000))


PAIRS = [(dialect, audio) for dialect in DIALECTS.values() for audio in dialect.formats]


@pytest.mark.parametrize(("dialect", "audio"), PAIRS, ids=[f"{d.name} {a.name}" for d, a in PAIRS])
def test_a_call_in_every_dialect_on_one_path(dialect, audio):
    async def main():
        sessions = Sessions()
        async with (
            running_edge(sessions) as (edge, base),
            carrier(base, dialect, audio, call_id="call-000007") as caller,
        ):
            await until(lambda: loud(caller.heard()), "the greeting")
            (session,) = sessions.made
            assert session.call_id == "call-000007"
            assert caller.socket.protocol == dialect.subprotocol
            codec = caller.codec
            clip = encode_clip("u", voiced(400, codec.sample_rate), 0, 400, codec)
            greeted = loud(caller.heard())
            await caller.speak([*clip.payloads, *[codec.silence] * 30])
            await until(lambda: loud(caller.heard()) > greeted, "the answer")
            # 50 packets of 20 ms reached the session at 16 kHz, but for what the resampler holds back.
            assert session.audio_samples == pytest.approx(16 * 20 * (len(clip.payloads) + 30), abs=400)
            await caller.send(caller.end.dtmf("7", 100))
            await until(lambda: session.digits, "the key")
            assert session.digits[0][0] == "7"
            assert edge.media_streams.counts.streams == {dialect.name: 1}
            assert edge.media_streams.counts.active_calls == 1
            if (stop := caller.end.stop()) is not None:
                await caller.send(stop)
            else:
                await caller.socket.close()
            await until(lambda: session.closes == 1, "the end of the session")
            await until(lambda: not edge.media_streams.counts.active_calls, "the release of the call")
            assert edge.media_streams.counts.calls_ended == {"peer_left": 1}
            assert edge.media_streams.counts.bad_messages == 0

    asyncio.run(main())


def test_a_call_without_a_name_of_ours_is_called_by_the_carriers_id():
    async def main():
        sessions = Sessions()
        async with running_edge(sessions) as (_edge, base), carrier(base, path="/stream") as caller:
            await until(lambda: sessions.made, "the session")
            assert sessions.made[0].call_id == caller.end.started.call_id

    asyncio.run(main())


def test_a_barge_in_clears_what_the_carrier_holds():
    async def main():
        sessions = Sessions(greeting_s=5)
        async with running_edge(sessions) as (_edge, base), carrier(base) as caller:
            await until(lambda: loud(caller.heard()), "the greeting")
            sessions.made[0].sink.flush()
            await until(lambda: Clear() in caller.said, "the clear")
            sessions.made[0].sink.play(SpeechOut(1, "x", np.zeros(480, np.int16), is_last=True))

    asyncio.run(main())


def test_bad_messages_are_counted_and_the_call_goes_on():
    async def main():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, base), carrier(base) as caller:
            await until(lambda: sessions.made, "the session")
            for bad in ("{", '{"event": "media"}', b"\0"):
                await caller.send(bad)
            await caller.send('{"event": "news"}')
            await until(lambda: edge.media_streams.counts.bad_messages == 3, "the counts")
            assert sessions.made[0].closes == 0

    asyncio.run(main())


def refused(base, path="/twilio"):
    async def connect():
        async with aiohttp.ClientSession() as http:
            try:
                async with http.ws_connect(base.replace("http", "ws") + path):
                    return None
            except aiohttp.WSServerHandshakeError as error:
                return error

    return connect()


def test_a_call_too_many_and_one_before_its_time_are_refused_at_once():
    async def main():
        async with running_edge(Sessions(), max_calls=1) as (edge, base), carrier(base):
            error = await refused(base)
            assert (error.status, error.headers["Retry-After"]) == (503, "5")
            assert edge.media_streams.counts.answers[503] == 1
        loading = Readiness(ready=False, stages={"stt": "loading"}, description={"stt": "scripted"})
        async with running_edge(Sessions(), readiness=loading) as (_edge, base):
            assert (await refused(base)).status == 503

    asyncio.run(main())


def test_a_carrier_that_does_not_start_is_let_go():
    async def main():
        limits = CallLimits(connect_s=0.2)
        async with running_edge(Sessions(), limits=limits) as (edge, base), aiohttp.ClientSession() as http:
            async with http.ws_connect(base.replace("http", "ws") + "/twilio") as socket:
                message = await socket.receive(10)
                assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 1002)
            async with http.ws_connect(base.replace("http", "ws") + "/twilio") as socket:
                await socket.send_str('{"event": "start", "start": {}}')
                message = await socket.receive(10)
                assert (socket.close_code, "legal: twilio" in message.extra) == (1002, True)
            await until(lambda: not edge.media_streams.counts.active_calls, "the release")

    asyncio.run(main())


def test_a_shutdown_hangs_up_and_waits():
    async def main():
        sessions = Sessions(greeting_s=30)
        async with running_edge(sessions) as (edge, base), carrier(base) as caller:
            await until(lambda: loud(caller.heard()), "the greeting")
            await edge.aclose()
            assert sessions.made[0].closes == 1
            assert edge.media_streams.counts.calls_ended == {"shutdown": 1}

    asyncio.run(main())


def test_the_answer_to_the_handshake_names_where_transcripts_are_told():
    async def main():
        sessions, told = Sessions(), []
        async with running_edge(sessions) as (edge, base), aiohttp.ClientSession() as http:
            async with http.ws_connect(base.replace("http", "ws") + "/stream") as socket:
                url = socket._response.headers["X-Callquake-Events"]
                # Before the start message, and so before there is a call.
                joining = asyncio.create_task(http.ws_connect(url))
                await asyncio.sleep(0.05)
                assert not joining.done()
                caller = Carrier(socket, TWILIO, next(iter(TWILIO.formats)), {"call_id": "call-1"})
                for message in caller.end.open():
                    await caller.send(message)
                async with await asyncio.wait_for(joining, 5) as events:
                    await events.send_str(rtvi.build(rtvi.ClientReady("1")))
                    await until(lambda: loud(caller.heard()), "the greeting")
                    await caller.speak(
                        [*encode_clip("u", voiced(400, 8000), 0, 400, PCMU).payloads, *[PCMU.silence] * 30]
                    )
                    while not told or not isinstance(told[-1], rtvi.UserTranscription):
                        told.append(rtvi.parse((await events.receive(5)).data))
                    assert told[-1].text == TRANSCRIPT
                    await caller.close()
                    while (await events.receive(5)).type is aiohttp.WSMsgType.TEXT:
                        pass
            await until(lambda: not edge.media_streams.counts.active_calls, "the release of the call")
            async with http.get(url.replace("ws", "http")) as gone:
                assert gone.status == 404

    asyncio.run(main())


def test_who_waits_for_a_call_that_never_starts_is_told_that_there_is_none():
    async def main():
        limits = CallLimits(connect_s=0.3)
        async with (
            running_edge(Sessions(), limits=limits) as (_edge, base),
            aiohttp.ClientSession() as http,
            http.ws_connect(base.replace("http", "ws") + "/stream") as socket,
        ):
            url = socket._response.headers["X-Callquake-Events"]
            async with http.get(url.replace("ws", "http")) as gone:
                assert gone.status == 404

    asyncio.run(main())


def test_a_caller_whose_ice_fails_goes_on_by_the_websocket_that_its_answer_named():
    async def main():
        sessions = Sessions()
        async with running_edge(sessions, has_fallback=True, max_calls=1) as (edge, base):
            client = Client(base)
            offer = await client.offer()
            await client.pc.close()
            async with aiohttp.ClientSession() as http, http.post(f"{base}/api/offer", json=offer) as answer:
                pc_id, told = (await answer.json())["pc_id"], answer.headers["X-Callquake-Fallback"]
            assert told == f"{base.replace('http', 'ws')}/stream?replaces={pc_id}"
            assert edge.counts.active_calls == 1
            async with carrier(base, path=told.removeprefix(base.replace("http", "ws"))) as caller:
                await until(lambda: loud(caller.heard()), "the greeting")
                # The place of the call that never came to be is free.
                await until(lambda: edge.counts.active_calls == 0, "replaced")
            assert edge.counts.calls_ended == {"replaced": 1}
            assert edge.media_streams.counts.replacements == 1

    asyncio.run(main())


def test_without_the_switch_no_answer_names_a_websocket():
    async def main():
        async with running_edge(Sessions()) as (_edge, base), Client(base) as client:
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{base}/api/offer", json=await Client("").offer()) as r,
            ):
                assert "X-Callquake-Fallback" not in r.headers
            assert client.answer

    asyncio.run(main())
