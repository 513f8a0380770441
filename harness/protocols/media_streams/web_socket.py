"""The client's end of a WebSocket (RFC 6455), without I/O: bytes in, what they say out.

wsproto does the handshake, pings and closes, and reads whatever is out of the ordinary: fragments, messages of 64 KiB
and more, what breaks the rules. Whole messages in one frame are read and written here, for that is what a stream of 50
messages a second and call consists of.
"""

import contextlib
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.connection import ConnectionState
from wsproto.utilities import LocalProtocolError as WsLocalError
from wsproto.utilities import RemoteProtocolError as WsRemoteError

from harness.model.errors import RemoteProtocolError

# The longest message taken: a minute of 16 kHz audio in base64 is 2.6 MB.
MOST_MESSAGE_BYTES = 4 * 1024 * 1024
# Of a refusal's body, for its message.
_MOST_BODY_BYTES = 2000
# RFC 6455 7.4.1.
NORMAL, GOING_AWAY, ABNORMAL, TOO_BIG = 1000, 1001, 1006, 1009
_TEXT, _BINARY = 0x1, 0x2
_FINAL, _MASKED = 0x80, 0x80
_TEXT_FRAME, _BINARY_FRAME = _FINAL | _TEXT, _FINAL | _BINARY
_PING_FRAME, _PONG_FRAME = _FINAL | 0x9, _FINAL | 0xA
# A length below this is in the second byte; this one says that it is in the next two.
_SHORT = 126
_END_OF_HEADERS = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Opened:
    """The server took the connection."""

    subprotocol: str | None
    # Those of the answer that are not the handshake's own; names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The server answered with another status than 101."""

    status: int
    location: str
    body: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The server closes; its reason is shown as it came, cut short."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A ping or a pong."""

    is_pong: bool


Event = Opened | Refused | Closed | Alive | str | bytes


class WebSocketClient:
    """One connection. `receive` may leave an answer (pong, close) in `to_send`."""

    def __init__(self) -> None:
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._parts: list[str | bytes] = []
        self._size = 0
        self._refusal: ws.RejectConnection | None = None
        self._body = b""
        self._answers: list[bytes] = []
        # Whether frames are read here, and what came of one that is not whole yet. Once wsproto has been given part
        # of a message, it reads all that follows.
        self._reads_frames = False
        self._held = b""

    def request(
        self, host: str, target: str, headers: Sequence[tuple[str, str]] = (), subprotocol: str | None = None
    ) -> bytes:
        """Return the opening handshake; `host` with its port where that is not the scheme's."""
        wanted = [] if subprotocol is None else [subprotocol]
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        return self._connection.send(ws.Request(host=host, target=target, subprotocols=wanted, extra_headers=raw))

    def receive(self, data: bytes | None) -> list[Event]:
        """Take what came, None for the end of the TCP connection. Raises RemoteProtocolError: nothing can follow."""
        events: list[Event] = []
        if self._reads_frames:
            if data is None:
                held, self._held, self._reads_frames = self._held, b"", False
                self._have_wsproto_read(held, events)
            else:
                data = self._read_frames(self._held + data if self._held else data, events)
                if not data:
                    return events
        self._have_wsproto_read(data, events)
        return events

    def _read_frames(self, data: bytes, events: list[Event]) -> bytes:
        """Take the whole frames; return what wsproto is to read, and all that follows it. The rest is held."""
        at, end = 0, len(data)
        while end - at >= 4 or (end - at >= 2 and data[at + 1] < _SHORT):
            opcode, length, start = data[at], data[at + 1], at + 2
            if length == _SHORT:
                length, start = data[at + 2] << 8 | data[at + 3], at + 4
                is_usual = length >= _SHORT
            else:
                is_usual = length < _SHORT
            if not is_usual or opcode not in (_TEXT_FRAME, _BINARY_FRAME, _PING_FRAME, _PONG_FRAME):
                return self._leave_frames(data[at:])
            if start + length > end:
                break
            if opcode == _BINARY_FRAME:
                events.append(data[start : start + length])
            elif opcode == _TEXT_FRAME:
                try:
                    events.append(data[start : start + length].decode())
                except UnicodeDecodeError:
                    return self._leave_frames(data[at:])
            else:
                self._have_wsproto_read(data[at : start + length], events)
            at = start + length
        self._held = data[at:]
        return b""

    def _leave_frames(self, rest: bytes) -> bytes:
        self._reads_frames, self._held = False, b""
        return rest

    def _have_wsproto_read(self, data: bytes | None, events: list[Event]) -> None:
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                found = self._event(event)
                events += found
                if data is not None and found and isinstance(found[0], Opened):
                    # Unless frames came with the answer: wsproto may have begun one of them.
                    self._reads_frames = data.find(_END_OF_HEADERS) == len(data) - len(_END_OF_HEADERS)
        except WsRemoteError as error:
            raise RemoteProtocolError(f"WebSocket: {error}") from error
        except WsLocalError as error:
            # Octets behind the close, or behind a refusal.
            raise RemoteProtocolError(f"WebSocket: data after its end: {error}") from error

    @property
    def to_send(self) -> bytes:
        """Take the answers that what was received asks for."""
        answers, self._answers = self._answers, []
        return b"".join(answers)

    def message(self, message: str | bytes) -> bytes:
        """Return the frame of a text or binary message."""
        if isinstance(message, str):
            return _frame(_TEXT, message.encode())
        return _frame(_BINARY, message)

    def ping(self) -> bytes:
        """Return a ping."""
        return self._connection.send(ws.Ping())

    def close(self, code: int = NORMAL, reason: str = "") -> bytes:
        """Return the close, nothing where one was sent."""
        try:
            return self._connection.send(ws.CloseConnection(code=code, reason=reason))
        except WsLocalError:
            return b""

    def _event(self, event: ws.Event) -> list[Event]:
        match event:
            case ws.TextMessage() | ws.BytesMessage():
                return self._part(event)
            case ws.AcceptConnection():
                return [Opened(event.subprotocol, _headers(event.extra_headers))]
            case ws.RejectConnection():
                self._refusal = event
                return [] if event.has_body else [self._refused()]
            case ws.RejectData():
                self._body = (self._body + bytes(event.data))[:_MOST_BODY_BYTES]
                return [self._refused()] if event.body_finished else []
            case ws.Ping():
                # Refused once we have closed.
                with contextlib.suppress(WsLocalError):
                    self._answers.append(self._connection.send(event.response()))
                return [Alive(is_pong=False)]
            case ws.Pong():
                return [Alive(is_pong=True)]
            case ws.CloseConnection():
                return [self._closed(event)]
        return []

    def _part(self, event: "ws.TextMessage | ws.BytesMessage") -> list[Event]:
        data = event.data if isinstance(event.data, str) else bytes(event.data)
        if event.message_finished and not self._parts:
            return [data]
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_MESSAGE_BYTES:
            self._answers.append(self.close(TOO_BIG))
            raise RemoteProtocolError(f"a WebSocket message of more than {MOST_MESSAGE_BYTES} bytes")
        if not event.message_finished:
            return []
        parts, self._parts, self._size = self._parts, [], 0
        if isinstance(data, str):
            return ["".join(p for p in parts if isinstance(p, str))]
        return [b"".join(p for p in parts if isinstance(p, bytes))]

    def _closed(self, event: ws.CloseConnection) -> Closed:
        if self._connection.state is ConnectionState.OPEN:
            # wsproto's word for a frame that cannot be read; a close of the peer's would have changed the state.
            self._answers.append(self.close(event.code))
            raise RemoteProtocolError(f"WebSocket: {event.reason}")
        # Refused where it answers our own close, or where the connection ended without one.
        with contextlib.suppress(WsLocalError):
            self._answers.append(self._connection.send(event.response()))
        return Closed(int(event.code), (event.reason or "")[:100])

    def _refused(self) -> Refused:
        refusal = self._refusal
        if refusal is None:
            raise RemoteProtocolError("WebSocket: a body without a status")
        location = _headers(refusal.headers).get("location", "")
        return Refused(refusal.status_code, location, self._body.decode(errors="replace"))


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1") for name, value in raw}


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return one whole, masked frame (RFC 6455 5.2 and 5.3)."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", _FINAL | opcode, _MASKED | size)
    elif size < 65_536:
        header = struct.pack("!BBH", _FINAL | opcode, _MASKED | 126, size)
    else:
        header = struct.pack("!BBQ", _FINAL | opcode, _MASKED | 127, size)
    key = os.urandom(4)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return header + key + (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")
