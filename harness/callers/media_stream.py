"""One call as a phone carrier streams it to an agent: over a WebSocket in one of six dialects, or by AudioSocket.

ws://, wss://    connect -> TLS -> WebSocket handshake -> start message -> audio
audiosocket://   connect -> UUID of the call -> audio
"""

import asyncio
import base64
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from harness.callers.addresses import resolve
from harness.callers.event_socket import EVENTS_HEADER, EventSocket
from harness.callers.exchange import CallEvent
from harness.callers.media_stream_host import StreamHost
from harness.callers.media_stream_link import Read, StreamLink, open_link
from harness.callers.media_stream_media import StreamMedia, StreamMediaSpec
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import Turn
from harness.media.codecs import L16_8K, L16_16K, PCMA, PCMU, Codec
from harness.media.recorder import Recorder
from harness.model.clock import monotonic_ns, ms_between
from harness.model.codec import to_json
from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.model.plan import CallPlan, StreamSpec, TargetSpec
from harness.model.records import Cause, SetupTimes, StreamFacts
from harness.protocols.media_streams import audiosocket
from harness.protocols.media_streams.audiosocket import AudioSocketCarrier
from harness.protocols.media_streams.dialect import AudioFormat
from harness.protocols.media_streams.dialects import dialect_named
from harness.protocols.media_streams.stream import CarrierEnd, Identity
from harness.protocols.media_streams.web_socket import Closed, Event, Opened, Refused, WebSocketClient
from harness.protocols.media_streams.wire import AudioSocketWire, WebSocketWire, Wire, WireEvent

AUDIOSOCKET = "audiosocket"
_PORTS = {"ws": 80, "wss": 443, AUDIOSOCKET: 9092}
_CODECS = {codec.name: codec for codec in (PCMU, PCMA, L16_8K, L16_16K)}
# The name by which an agent's records and ours are joined, in the start message.
CALL_ID = "call_id"
_SHOWN = 200


def format_of(target: TargetSpec) -> AudioFormat:
    """Return the audio that calls to `target` carry: its dialect's first of the codec asked for, or its first."""
    formats: Sequence[AudioFormat]
    if target.dialect == AUDIOSOCKET:
        formats = list(audiosocket.FORMATS)
    else:
        formats = list(dialect_named(target.dialect).formats)
    rate = None if target.stream is None else target.stream.sample_rate
    fits = [f for f in formats if f.name.partition("/")[0] == target.codec and rate in (None, f.sample_rate)]
    if fits:
        return fits[0]
    legal = ", ".join(f"{f.name.partition('/')[0]} at {f.sample_rate} Hz" for f in formats)
    raise LocalProtocolError(f"{target.dialect} has no {target.codec} at {rate or 'any'} Hz; legal: {legal}")


def stream_codec(target: TargetSpec) -> Codec:
    """Return the codec that clips for calls to `target` are encoded with."""
    return _CODECS[format_of(target).name]


class MediaStreamCaller:
    """One call over a media stream; harness/callers/caller.py says what its methods promise."""

    def __init__(self, plan: CallPlan, host: StreamHost, post: Callable[[CallEvent], None]) -> None:
        self._plan = plan
        self._host = host
        self._post = post
        self._parts = urlsplit(plan.target.url)
        self._side = EventSocket(host.http, post)
        self._link: StreamLink | None = None
        self.media: StreamMedia | None = None
        self.recorder: Recorder | None = None
        self.setup = SetupTimes()
        self.candidate_types: tuple[str, str] | None = None
        # For a traced call: each step's time in ms, and what was said and answered.
        self._steps_ms: dict[str, float] = {}
        self._agreed: dict[str, Any] = {"steps_ms": self._steps_ms}

    @property
    def stream(self) -> StreamFacts | None:
        """What the stream went through; None before the call is up."""
        return None if self.media is None else self.media.facts()

    @property
    def details(self) -> dict[str, Any]:
        """What a traced call asked, was answered and agreed on."""
        return {**self._agreed, "stream": None if self.stream is None else to_json(self.stream)}

    def press(self, digits: str) -> None:
        """Press keys; the carrier tells them by messages."""
        if self.media is not None:
            self.media.press(digits)

    async def connect(self, turn: Turn) -> int:
        """Set the call up; return the monotonic ns at which media was up. Raises SetupFailure, GeneratorError."""
        started = monotonic_ns()
        waited_ms = turn.waited_ns / 1e6
        timeout_s = self._plan.limits.connect_timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                wire, early = await turn.away(self._set_up())
        except TimeoutError as error:
            detail = f"no answer from {self._plan.target.url} within {timeout_s:.0f} s"
            raise SetupFailure(Cause.SIGNALLING_TIMEOUT, detail) from error
        connected = monotonic_ns()
        self._begin(wire, early, connected)
        # Without what it took to get a place again: that is ours, and told as queue_ms.
        waited_again_ms = turn.waited_ns / 1e6 - waited_ms
        self.setup = SetupTimes(
            queue_ms=turn.waited_ns / 1e6,
            signalling_ms=ms_between(started, connected) - waited_again_ms,
            total_ms=ms_between(turn.due_at_ns, connected),
        )
        return connected

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        try:
            if self.media is not None:
                await self.media.close()
                self._host.remove(self.media)
        finally:
            if self._link is not None:
                self._link.close()
            await self._side.aclose()

    # --- set-up ----------------------------------------------------------------------------------------------------

    async def _set_up(self) -> tuple[Wire, list[WireEvent]]:
        parts, target = self._parts, self._plan.target
        began = monotonic_ns()
        remote = await resolve(parts.hostname or "", parts.port or _PORTS[parts.scheme])
        self._steps_ms["resolve"], resolved = ms_between(began, monotonic_ns()), monotonic_ns()
        ca = None if target.stream is None else target.stream.ca
        tls = (self._host.tls(ca), parts.hostname or "") if parts.scheme == "wss" else None
        silence_ms = self._plan.limits.media_timeout_ms
        self._link = await open_link(remote, tls, self._host.clock, silence_ms, _shown(target.url))
        self._steps_ms["tls" if tls else "connect"] = ms_between(resolved, monotonic_ns())
        self._agreed |= {"remote": f"{remote[0]}:{remote[1]}", "tls": self._link.tls_words}
        if target.dialect == AUDIOSOCKET:
            # An agent joins its records by the UUID; it is made of the call's name, for that is all it can be told.
            call_uuid = uuid.uuid5(uuid.NAMESPACE_URL, self._plan.call_id)
            self._agreed |= {"uuid": str(call_uuid), "audio": format_of(target).name}
            return AudioSocketWire(AudioSocketCarrier(call_uuid, format_of(target))), []
        return await self._open_web_socket(self._link)

    async def _open_web_socket(self, link: StreamLink) -> tuple[Wire, list[WireEvent]]:
        target = self._plan.target
        dialect = dialect_named(target.dialect)
        spec = target.stream or StreamSpec()
        identity = Identity(
            from_number=self._plan.persona.phone_number, parameters={CALL_ID: self._plan.call_id, **spec.parameters}
        )
        stream = CarrierEnd(dialect, format_of(target), identity)
        web_socket = WebSocketClient()
        path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        link.send(web_socket.request(_host_header(self._parts), path, self._headers(), dialect.subprotocol))
        began = monotonic_ns()
        opened, *rest = await self._handshake(link, web_socket)
        self._steps_ms["handshake"] = ms_between(began, monotonic_ns())
        self._agreed |= {
            "subprotocol": opened.subprotocol if isinstance(opened, Opened) else None,
            "audio": stream.audio_format.name,
            "started": to_json(stream.started),
        }
        if answer := web_socket.to_send:
            link.send(answer)
        if isinstance(opened, Opened):
            self._side.follow(opened.headers.get(EVENTS_HEADER))
        wire = WebSocketWire(web_socket, stream)
        return wire, wire.take(rest)

    def _headers(self) -> list[tuple[str, str]]:
        headers = dict(self._plan.target.headers)
        if self._parts.username is not None and "authorization" not in map(str.lower, headers):
            user = f"{unquote(self._parts.username)}:{unquote(self._parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        return list(headers.items())

    async def _handshake(self, link: StreamLink, web_socket: WebSocketClient) -> list[Event]:
        """Wait for the answer; return it and what came behind it. Raises SetupFailure."""
        answered: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        shown = _shown(self._plan.target.url)

        def fail(cause: Cause, detail: str) -> None:
            if not answered.done():
                answered.set_exception(SetupFailure(cause, f"{shown}: {detail}"))

        def on_read(read: Read) -> None:
            if answered.done():
                return
            try:
                events = web_socket.receive(read.data or None)
            except RemoteProtocolError as error:
                fail(*_unusable(read, error))
                return
            if events and isinstance(events[0], Opened):
                # What comes before the call has its turn again is for its media.
                link.pause()
                answered.set_result(events)
            elif events and isinstance(events[0], Refused):
                fail(Cause.SIGNALLING_REFUSED, _refusal(events[0]))
            elif not read.data or any(isinstance(event, Closed) for event in events):
                fail(Cause.SIGNALLING_REFUSED, "the connection ended before the WebSocket was open")

        def on_broken(error: OSError) -> None:
            fail(Cause.SIGNALLING_UNREACHABLE, f"the connection broke in the handshake: {error.strerror or error}")

        link.listen(on_read, on_broken)
        return await answered

    def _begin(self, wire: Wire, early: list[WireEvent], connected_ns: int) -> None:
        if self._link is None:
            raise LocalProtocolError("a media stream began before its connection")
        codec = stream_codec(self._plan.target)
        if self._plan.record:
            self.recorder = Recorder(connected_ns, codec)
        limits = self._plan.limits
        spec = StreamMediaSpec(
            name=self._plan.call_id,
            dialect=self._plan.target.dialect,
            codec=codec,
            quiet_ms=limits.quiet_ms,
            media_timeout_ms=limits.media_timeout_ms,
            post=self._post,
            recorder=self.recorder,
            prepared=self._host.prepared(wire),
            ears=self._host.ears,
        )
        self.media = StreamMedia(self._link, wire, spec, self._host.ticker)
        self._host.add(self.media)
        self.media.start(early, connected_ns)


def _shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _host_header(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    return host.removesuffix(f":{_PORTS[parts.scheme]}")


def _unusable(read: Read, error: RemoteProtocolError) -> tuple[Cause, str]:
    """Return what an answer to the handshake counts as that is none."""
    if not read.data:
        return Cause.SIGNALLING_UNREACHABLE, "the connection ended in the middle of the handshake"
    return Cause.SIGNALLING_REFUSED, f"the handshake's answer is unusable: {error}"


def _refusal(refused: Refused) -> str:
    if refused.location:
        return f"HTTP {refused.status} to {refused.location}: redirects are not followed; legal: the final address"
    body = f": {refused.body[:_SHOWN].strip()}" if refused.body.strip() else ""
    return f"HTTP {refused.status} instead of a WebSocket{body}"
