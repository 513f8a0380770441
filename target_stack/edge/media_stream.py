"""Calls that a carrier streams to the agent over a WebSocket (Twilio Media Streams and its kin); see harness protocols.

    GET /twilio (or /stream) ─► start message: dialect, encoding, call id ─► connected ─► audio both ways ─► stop, close

The dialect is told from the first messages, so one path serves all of them. The agent speaks in real time, 20 ms a
message, and sends nothing while it is silent; a barge-in also clears what the carrier still holds. The handshake's
answer names where transcripts and stage times can be had (event_streams.py). `?replaces=PC_ID` ends a WebRTC call
whose caller goes on here, since its ICE failed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from aiohttp import WSMsgType, web

from harness.media.codecs import L16_8K, L16_16K, PCMA, PCMU, Codec
from harness.model.errors import RemoteProtocolError
from harness.protocols.media_streams.dialects import DIALECTS
from harness.protocols.media_streams.messages import CallerAudio as AudioMessage
from harness.protocols.media_streams.messages import Dtmf, Started, Stopped
from harness.protocols.media_streams.stream import AgentEnd, WireMessage
from target_stack.edge.agent_call import AgentCall, CallLimits, EndReason
from target_stack.edge.call_facts import facts_from_parameters
from target_stack.edge.call_names import CALL_NAME, CallNames
from target_stack.edge.caller_audio import CallerAudio
from target_stack.edge.calls import RequestRefusedError
from target_stack.edge.counts import StreamCounts
from target_stack.edge.event_streams import EVENTS_HEADER, EventStreams
from target_stack.edge.rtp.ticker import Ticker
from target_stack.edge.speech_encoder import SpeechEncoder
from target_stack.frames import CallFacts, SessionFactory

_log = logging.getLogger(__name__)
PATHS = ("/twilio", "/stream")
_CODECS: dict[str, Codec] = {codec.name: codec for codec in (PCMU, PCMA, L16_8K, L16_16K)}
_SUBPROTOCOLS = tuple(d.subprotocol for d in DIALECTS.values() if d.subprotocol is not None)
# Of a carrier that does not read; a second of audio.
_MOST_WAITING = 64
_LARGEST_MESSAGE = 256 * 1024
_HEARTBEAT_S = 10.0
_CLOSE_S = 2.0


class StreamCall(AgentCall):
    """One call; its WebSocket is written by one task, so that nothing of the session waits for the network."""

    def __init__(
        self,
        call_id: str,
        end: AgentEnd,
        sessions: SessionFactory,
        limits: CallLimits,
        ticker: Ticker,
        facts: CallFacts = CallFacts(),  # noqa: B008 -- frozen
    ) -> None:
        super().__init__(call_id, sessions, limits, facts=facts)
        codec = _CODECS[end.audio_format.name]
        self._end = end
        self._ticker = ticker
        self._encoder = SpeechEncoder(codec)
        self._audio = CallerAudio(codec)
        self._codec = codec
        self._sequence = 0
        self._heard_ticks = 0
        # As SpeechEncoder fades out: so many frames of silence follow speech, then nothing is sent.
        self._silent_frames = 0
        self._outgoing: asyncio.Queue[WireMessage | None] = asyncio.Queue(_MOST_WAITING)

    def start(self) -> None:
        """Begin to speak and to listen."""
        self._ticker.add(self._tick)
        self.connected()

    def take(self, message: AudioMessage | Dtmf) -> None:
        """Take what the caller said or pressed."""
        now = time.monotonic_ns()
        self.note_media(now)
        if isinstance(message, Dtmf):
            self.press(message.digit, float(message.duration_ms))
            return
        samples = self._audio.take(self._sequence, self._heard_ticks, message.payload)
        self._sequence = (self._sequence + 1) & 0xFFFF
        ticks = len(message.payload) // self._end.audio_format.sample_bytes
        self._heard_ticks = (self._heard_ticks + ticks) & 0xFFFFFFFF
        self.hear(samples, now)

    def flush(self) -> float:
        """Drop all speech not yet sent, and what the carrier has not played."""
        played_s = super().flush()
        clear = self._end.clear()
        if clear is not None:
            self._put(clear)
        return played_s

    def _tick(self, _number: int) -> None:
        frame = self.playout.next_frame()
        self._silent_frames = 0 if frame.samples is not None else self._silent_frames + 1
        payload = self._encoder.encode(frame.samples)
        if self._silent_frames <= 1:
            self._put(self._end.audio(payload))
        if frame.started is not None or frame.drained:
            self.announce(frame, time.monotonic_ns())

    def _put(self, message: WireMessage) -> None:
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.hang_up(EndReason.MEDIA_LOST)

    async def write(self, socket: web.WebSocketResponse) -> None:
        """Write until cancelled."""
        while (message := await self._outgoing.get()) is not None:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

    async def stop_speaking(self, _reason: EndReason) -> None:
        """Leave the clock."""
        self._ticker.remove(self._tick)
        self._encoder.close()


class StreamEdge:
    """Takes media streams between the server's start and `aclose`."""

    def __init__(
        self,
        sessions: SessionFactory,
        names: CallNames,
        max_calls: int,
        limits: CallLimits,
        why_not: Callable[[], str],
        events: EventStreams,
        replace: Callable[[str], None] = lambda _pc_id: None,
    ) -> None:
        self._replace = replace
        self.counts = StreamCounts()
        self._events = events
        self._sessions = sessions
        self._names = names
        self._max_calls = max_calls
        self._limits = limits
        self._why_not = why_not
        self._ticker = Ticker()
        self._calls: dict[StreamCall, None] = {}
        self._active = 0
        self._is_closing = False

    def routes(self) -> list[web.RouteDef]:
        """Return where carriers connect."""
        return [web.get(path, self.serve) for path in PATHS]

    def hang_up(self, call_id: str, reason: EndReason = EndReason.HUNG_UP) -> bool:
        """End the call named `call_id`; tell whether there was one."""
        call = next((c for c in self._calls if c.call_id == call_id), None)
        if call is not None:
            call.hang_up(reason)
        return call is not None

    def refusal(self) -> str:
        """Say why no call can be taken now; "" when one can."""
        if self._is_closing:
            return "the agent is shutting down"
        if self._active >= self._max_calls:
            return f"{self._active} media streams are active, which is the limit"
        return self._why_not()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection to its end; RequestRefusedError where no call is taken."""
        replaced = request.query.get("replaces")
        if replaced is not None:
            # Whose media did not come through; its place is free whether this one gets one or not.
            self.counts.replacements += 1
            self._replace(replaced)
        why = self.refusal()
        self.counts.answers[503 if why else 101] += 1
        if why:
            raise RequestRefusedError(503, why)
        socket = web.WebSocketResponse(
            protocols=_SUBPROTOCOLS, heartbeat=_HEARTBEAT_S, max_msg_size=_LARGEST_MESSAGE, timeout=_CLOSE_S
        )
        path = self._events.promise()
        socket.headers[EVENTS_HEADER] = f"{'wss' if request.secure else 'ws'}://{request.host}{path}"
        # Taken before the first await: two at once must not share the last place.
        self._active += 1
        self.counts.active_calls = self._active
        try:
            await socket.prepare(request)
            await self._serve(socket, path)
        finally:
            self._events.close(path)
            self._active -= 1
            self.counts.active_calls = self._active
        return socket

    async def aclose(self) -> None:
        """Refuse new calls, hang up the others and wait until all is released."""
        self._is_closing = True
        while self._calls:
            for call in self._calls:
                call.hang_up(EndReason.SHUTDOWN)
            await asyncio.sleep(0.01)
        await self._ticker.aclose()

    async def _serve(self, socket: web.WebSocketResponse, path: str) -> None:
        end = AgentEnd()
        try:
            async with asyncio.timeout(self._limits.connect_s):
                started = await self._start_of(socket, end)
        except TimeoutError:
            self.counts.calls_ended[EndReason.CONNECT_TIMEOUT.value] += 1
            await socket.close(code=1002, message=b"no start message")
            return
        except RemoteProtocolError as error:
            self.counts.bad_messages += 1
            await socket.close(code=1002, message=str(error).encode()[:120])
            return
        if started is not None:
            await self._call(socket, end, started, path)

    async def _start_of(self, socket: web.WebSocketResponse, end: AgentEnd) -> Started | None:
        """Wait for the start message; None where the carrier left before it."""
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            said = end.receive(message.data)
            if isinstance(said, Started):
                _ = end.audio_format
                return said
        return None

    async def _call(self, socket: web.WebSocketResponse, end: AgentEnd, started: Started, path: str) -> None:
        facts = facts_from_parameters(started.parameters, started.from_number)
        name = self._names.take(_wanted_name(started))
        call = StreamCall(name, end, self._sessions, self._limits, self._ticker, facts)
        self._calls[call] = None
        self._events.attach(path, call.channel)
        self.counts.streams[end.dialect.name if end.dialect else ""] += 1
        call.start()
        writing = asyncio.create_task(call.write(socket), name=f"stream {call.call_id}")
        reading = asyncio.create_task(self._read(socket, end, call), name=f"stream {call.call_id} in")
        try:
            reason = await call.run(call.stop_speaking)
            self.counts.calls_ended[reason.value] += 1
        finally:
            del self._calls[call]
            self._names.release(call.call_id)
            for task in (writing, reading):
                task.cancel()
            with contextlib.suppress(Exception):
                await asyncio.gather(writing, reading, return_exceptions=True)
            await socket.close()

    async def _read(self, socket: web.WebSocketResponse, end: AgentEnd, call: StreamCall) -> None:
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            try:
                said = end.receive(message.data)
            except RemoteProtocolError as error:
                self.counts.bad_messages += 1
                _log.info("call %s: %s", call.call_id, error)
                continue
            if isinstance(said, AudioMessage | Dtmf):
                call.take(said)
            elif isinstance(said, Stopped):
                break
        call.hang_up(EndReason.PEER_LEFT)


def _wanted_name(started: Started) -> str | None:
    """Return the caller's own name for its call, by which its records and ours are joined; else the carrier's id."""
    named = (started.parameters.get("call_id", ""), started.call_id)
    return next((name for name in named if CALL_NAME.fullmatch(name)), None)
