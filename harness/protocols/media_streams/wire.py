"""What a carrier's end writes to its TCP connection and reads from it, for WebSocket streams and AudioSocket alike."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.model.errors import RemoteProtocolError
from harness.protocols.media_streams import audiosocket
from harness.protocols.media_streams.audiosocket import AudioSocketCarrier
from harness.protocols.media_streams.dialect import AudioFormat, OnClear
from harness.protocols.media_streams.messages import AgentMessage, Other
from harness.protocols.media_streams.stream import CarrierEnd
from harness.protocols.media_streams.web_socket import (
    ABNORMAL,
    GOING_AWAY,
    NORMAL,
    Alive,
    Closed,
    Event,
    WebSocketClient,
)

Payload = bytes | str


@dataclass(frozen=True, slots=True)
class Bad:
    """A message that no carrier could use; the call goes on."""

    error: RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent's end of the connection is over: by a goodbye, or broken."""

    detail: str
    is_broken: bool


WireEvent = AgentMessage | Other | Bad | Ended | Alive


def in_base64(payload: bytes) -> Payload:
    """Return audio as text."""
    return base64.b64encode(payload).decode()


def as_it_is(payload: bytes) -> Payload:
    """Return audio as bytes."""
    return payload


class Wire(Protocol):
    """One call's wire. What the methods return is to be sent at once; None or nothing: there is nothing to say."""

    audio_format: AudioFormat
    packets_per_message: int
    on_clear: OnClear
    # The goodbye is the end of our direction of the connection, not a message that is answered.
    ends_by_fin: bool
    # Makes audio what `audio` takes: `in_base64` or `as_it_is`; to be done once for audio that is sent often.
    prepare: Callable[[bytes], Payload]

    def open(self) -> bytes:
        """Begin the stream."""

    def audio(self, payload: Payload, timestamp_ms: int) -> bytes:
        """Say a piece; `timestamp_ms` is its place in the stream."""

    def dtmf(self, digit: str, timestamp_ms: int) -> bytes | None:
        """Press a key."""

    def mark_played(self, name: str, *, is_cleared: bool) -> bytes | None:
        """Tell that a mark was reached."""

    def cleared(self) -> bytes | None:
        """Tell that the buffer was flushed."""

    def ping(self) -> bytes | None:
        """Ask for a sign of life; None where the protocol has no such question."""

    def stop(self) -> bytes:
        """Say goodbye."""

    def receive(self, data: bytes | None) -> tuple[list[WireEvent], bytes]:
        """Take what came, None for the end of the connection; return what it says and what to answer."""


class WebSocketWire:
    """A media stream over a WebSocket that is open; `take` is for what came together with the handshake's answer."""

    ends_by_fin = False

    def __init__(self, web_socket: WebSocketClient, stream: CarrierEnd) -> None:
        self._web_socket = web_socket
        self._stream = stream
        self._is_over = False
        self.audio_format = stream.audio_format
        self.packets_per_message = stream.dialect.packets_per_message
        self.on_clear = stream.dialect.on_clear
        self.prepare: Callable[[bytes], Payload] = as_it_is if stream.dialect.is_binary else in_base64

    def open(self) -> bytes:
        """Begin the stream."""
        return b"".join(self._web_socket.message(text) for text in self._stream.open())

    def audio(self, payload: Payload, timestamp_ms: int) -> bytes:
        """Say a piece."""
        return self._web_socket.message(self._stream.audio(payload, timestamp_ms))

    def dtmf(self, digit: str, timestamp_ms: int) -> bytes | None:
        """Press a key."""
        return self._text(self._stream.dtmf(digit, timestamp_ms))

    def mark_played(self, name: str, *, is_cleared: bool) -> bytes | None:
        """Tell that a mark was reached."""
        return self._text(self._stream.mark_played(name, is_cleared=is_cleared))

    def cleared(self) -> bytes | None:
        """Tell that the buffer was flushed."""
        return self._text(self._stream.cleared())

    def ping(self) -> bytes | None:
        """Ask for a pong."""
        return None if self._is_over else self._web_socket.ping()

    def stop(self) -> bytes:
        """Say goodbye and close."""
        if self._is_over:
            return b""
        # The answer to the close is still to come.
        return (self._text(self._stream.stop()) or b"") + self._web_socket.close()

    def receive(self, data: bytes | None) -> tuple[list[WireEvent], bytes]:
        """Take what came; after Ended nothing comes."""
        if self._is_over:
            return [], b""
        if data is None:
            self._is_over = True
            return [Ended("the connection ended without a WebSocket close", is_broken=True)], b""
        try:
            events = self.take(self._web_socket.receive(data))
        except RemoteProtocolError as error:
            self._is_over = True
            return [Bad(error), Ended(str(error), is_broken=True)], self._web_socket.to_send
        return events, self._web_socket.to_send

    def take(self, messages: Sequence[Event]) -> list[WireEvent]:
        """Return what WebSocket events say."""
        events: list[WireEvent] = []
        for message in messages:
            if isinstance(message, str | bytes):
                try:
                    events.append(self._stream.receive(message))
                except RemoteProtocolError as error:
                    events.append(Bad(error))
            elif isinstance(message, Alive):
                events.append(message)
            elif isinstance(message, Closed):
                self._is_over = True
                events.append(_ended(message))
        return events

    def _text(self, text: str | None) -> bytes | None:
        return None if text is None or self._is_over else self._web_socket.message(text)


def _ended(closed: Closed) -> Ended:
    why = f" {closed.reason!r}" if closed.reason else ""
    # 1005: a close without a code, as many servers send.
    is_goodbye = closed.code in (NORMAL, GOING_AWAY, 1005)
    if closed.code == ABNORMAL:
        return Ended("the connection ended without a WebSocket close", is_broken=True)
    return Ended(f"the agent closed the WebSocket: {closed.code}{why}", is_broken=not is_goodbye)


class AudioSocketWire:
    """AudioSocket over a TCP connection that is open."""

    packets_per_message = 1
    on_clear = OnClear.DROPPED
    ends_by_fin = True

    def __init__(self, stream: AudioSocketCarrier) -> None:
        self._stream = stream
        self._frames = audiosocket.FrameReader()
        self._is_over = False
        self.audio_format = stream.audio_format
        self.prepare: Callable[[bytes], Payload] = as_it_is

    def open(self) -> bytes:
        """Begin the stream."""
        return self._stream.open()

    def audio(self, payload: Payload, timestamp_ms: int) -> bytes:
        """Say a piece; AudioSocket has no time stamps."""
        del timestamp_ms
        return self._stream.audio(payload if isinstance(payload, bytes) else payload.encode())

    def dtmf(self, digit: str, timestamp_ms: int) -> bytes | None:
        """Press a key."""
        del timestamp_ms
        return self._stream.dtmf(digit)

    def mark_played(self, name: str, *, is_cleared: bool) -> bytes | None:
        """Say nothing: there are no marks."""
        del name, is_cleared
        return None

    def cleared(self) -> bytes | None:
        """Say nothing: there is no clear."""

    def ping(self) -> bytes | None:
        """Say nothing: there are no pings."""

    def stop(self) -> bytes:
        """Say goodbye."""
        return b"" if self._is_over else self._stream.stop()

    def receive(self, data: bytes | None) -> tuple[list[WireEvent], bytes]:
        """Take what came. The end of the connection is a goodbye, too: most servers say no other."""
        if self._is_over:
            return [], b""
        if data is None:
            self._is_over = True
            return [Ended("the agent closed the AudioSocket connection", is_broken=False)], b""
        events: list[WireEvent] = []
        for kind, payload in self._frames.feed(data):
            try:
                events.append(self._stream.read(kind, payload))
            except RemoteProtocolError as error:
                events.append(Bad(error))
        return events, b""
