"""Test bench: an agent at the other end of media streams, and callers to it. It answers in bursts, as agents do."""

import asyncio
import contextlib
import ssl

import aiohttp
import numpy as np
from aiohttp import WSMsgType, web

from harness.calibrate.voice import voiced
from harness.callers.media_stream import MediaStreamCaller
from harness.callers.media_stream_host import StreamHost
from harness.callers.setup_queue import SetupQueue
from harness.media.clips import encode_clip
from harness.media.codecs import L16_8K, L16_16K, PCMA, PCMU
from harness.media.hot.stream_ear import compile_stream_ears
from harness.model.clock import monotonic_ns
from harness.model.errors import RemoteProtocolError
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, StreamSpec, TargetSpec
from harness.protocols.media_streams.audiosocket import AudioSocketAgent, FrameReader
from harness.protocols.media_streams.messages import CallerAudio, Started, Stopped
from harness.protocols.media_streams.stream import AgentEnd

CODECS = {codec.name: codec for codec in (PCMU, PCMA, L16_8K, L16_16K)}


def plan(url, call_id="call-1", record=False, media_timeout_ms=8_000, connect_timeout_ms=15_000, **target):
    target.setdefault("codec", "PCMU")
    target.setdefault("stream", StreamSpec())
    return CallPlan(
        call_id=call_id,
        index=0,
        due_ms=0.0,
        caller="c",
        persona=Persona("n", "+15550100", "r", "american", "normal"),
        patience=Patience("normal", 1.0, 1.0, 1),
        turns=(PlannedTurn("u", 0.0),),
        target=TargetSpec(url, transport="media_stream", **target),
        limits=CallLimits(media_timeout_ms=media_timeout_ms, connect_timeout_ms=connect_timeout_ms),
        record=record,
    )


def utterance(codec, voice_ms=300):
    silence = np.zeros(codec.sample_rate // 10, np.int16)
    samples = np.concatenate([silence, voiced(voice_ms, codec.sample_rate), silence])
    return encode_clip("u", samples, 100, 100 + voice_ms, codec)


def voice(codec, duration_ms, lead_ms=0):
    """Bytes of speech behind `lead_ms` of silence."""
    samples = np.concatenate(
        [np.zeros(lead_ms * codec.sample_rate // 1000, np.int16), voiced(duration_ms, codec.sample_rate)]
    )
    clip = encode_clip("v", samples, 0, duration_ms, codec)
    return b"".join(clip.payloads)


class Talk:
    """One connection as the agent's script sees it."""

    def __init__(self, end, send, codec_of):
        self.end, self._send, self._codec_of = end, send, codec_of
        self.heard = []
        self.headers = {}
        self.started = asyncio.Event()
        self.speaks = asyncio.Event()
        self.stopped = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def codec(self):
        return self._codec_of(self.end)

    async def say(self, payload, message_bytes=None):
        """Send audio, in one message or in several, all at once; return when it was handed over."""
        size = message_bytes or len(payload)
        for at in range(0, len(payload), size):
            await self._send(self.end.audio(payload[at : at + size]))
        return monotonic_ns()

    async def send(self, message):
        await self._send(message)

    def take(self, message):
        try:
            said = self.end.receive(message) if isinstance(self.end, AgentEnd) else self.end.read(*message)
        except RemoteProtocolError as error:
            said = error
        self.heard.append((monotonic_ns(), said))
        if isinstance(said, CallerAudio):
            self.speaks.set()
        if isinstance(said, Started):
            self.started.set()
        if isinstance(said, Stopped):
            self.stopped.set()

    def audio(self):
        return b"".join(m.payload for _, m in self.heard if isinstance(m, CallerAudio))

    def of(self, kind):
        return [m for _, m in self.heard if isinstance(m, kind)]


class StreamAgent:
    """A WebSocket server with `script(talk)` behind it; `refuse` = (status, headers, body) instead."""

    def __init__(self, script=None, *, refuse=None, subprotocols=(), certificate=None, autoping=True, headers=None):
        self._script, self._refuse, self._subprotocols = script, refuse, subprotocols
        self._headers = headers or {}
        self._certificate, self._autoping = certificate, autoping
        self.talks = []
        self.sockets = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        context = None
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"{'ws' if context is None else 'wss'}://127.0.0.1:{self.port}/stream"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _serve(self, request):
        if self._refuse is not None:
            status, headers, body = self._refuse
            return web.Response(status=status, headers=headers, text=body)
        socket = web.WebSocketResponse(protocols=self._subprotocols, autoping=self._autoping)
        socket.headers.update(self._headers)
        await socket.prepare(request)
        self.sockets.append(socket)

        async def send(message):
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)

        talk = Talk(AgentEnd(), send, lambda end: CODECS[end.audio_format.name])
        talk.headers, talk.query, talk.socket = dict(request.headers), dict(request.query), socket
        talk.transport = request.transport
        self.talks.append(talk)
        script = asyncio.create_task(self._run(talk))
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    talk.take(message.data)
        finally:
            talk.closed.set()
            script.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await script
        return socket

    async def _run(self, talk):
        await talk.started.wait()
        if self._script is not None:
            await self._script(talk)


class AudioSocketServer:
    """The same over AudioSocket."""

    def __init__(self, script=None):
        self._script = script
        self.talks = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"audiosocket://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        async def send(data):
            writer.write(data)
            await writer.drain()

        talk = Talk(AudioSocketAgent(), send, lambda end: CODECS[end.audio_format.name])
        talk.writer = writer
        self.talks.append(talk)
        frames = FrameReader()
        script = asyncio.create_task(self._run(talk))
        try:
            while data := await reader.read(4096):
                for found in frames.feed(data):
                    talk.take(found)
        except ConnectionError:
            pass
        finally:
            talk.closed.set()
            script.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await script
            writer.close()

    async def _run(self, talk):
        await talk.started.wait()
        if self._script is not None:
            await self._script(talk)


class Bench:
    """A host of media streams, and callers on it."""

    async def __aenter__(self):
        # As an engine does before its first call: it takes longer than agents wait.
        compile_stream_ears()
        self.http = aiohttp.ClientSession()
        self.host = StreamHost(self.http)
        self.queue = SetupQueue()
        self.callers = []
        return self

    async def __aexit__(self, *_):
        for caller in self.callers:
            await caller.close()
        self.host.close()
        await self.http.close()

    async def connect(self, url, call_id="call-1", **settings):
        events = asyncio.Queue()
        caller = MediaStreamCaller(plan(url, call_id, **settings), self.host, events.put_nowait)
        self.callers.append(caller)
        async with self.queue.turn(None) as turn:
            await caller.connect(turn)
        return caller, events


async def next_of(events, *kinds):
    """Return the next event of one of `kinds`, passing over others."""
    while True:
        try:
            event = await asyncio.wait_for(events.get(), 20)
        except TimeoutError as error:
            raise AssertionError(f"20 s without one of {kinds}") from error
        if isinstance(event, kinds):
            return event
