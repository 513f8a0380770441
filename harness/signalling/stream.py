"""One TCP or TLS connection that carries SIP: framed messages in, bytes out (RFC 3261 18.3; keep-alive RFC 5626)."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from harness.model.errors import RemoteProtocolError
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.framing import KeepAlive, StreamFramer

_PING, _PONG = b"\r\n\r\n", b"\r\n"
# A peer that does not read must not fill our memory.
_MOST_UNSENT_BYTES = 1 << 20
# A peer that vanished without a FIN is noticed within 11 s, idle or not.
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))
_UNACKNOWLEDGED_MS = 10_000


class SipStream(asyncio.Protocol):
    """Owned by its endpoint, told by `on_open`, `on_message`, `on_batch` and, once, `on_closed(stream, why)`."""

    def __init__(
        self,
        transport_name: str,
        number: int,
        *,
        on_open: Callable[["SipStream"], None],
        on_message: Callable[[bytes, Flow], None],
        on_batch: Callable[[], None],
        on_closed: Callable[["SipStream", str], None],
    ) -> None:
        self._transport_name = transport_name
        self._number = number
        self._on_open = on_open
        self._on_message = on_message
        self._on_batch = on_batch
        self._on_closed = on_closed
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._why = "the peer closed the connection"
        self.is_bad = False
        self.flow = Flow(transport_name, ("", 0), ("", 0), number)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the flow is known from here on."""
        self._transport = cast("asyncio.Transport", transport)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self.flow = Flow(self._transport_name, local[:2], remote[:2], self._number)
        _notice_silent_death(transport.get_extra_info("socket"))
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Hand up every message that is whole; what is no SIP ends the connection."""
        try:
            for item in self._framer.feed(data):
                if not isinstance(item, KeepAlive):
                    self._on_message(item, self.flow)
                elif self._transport is not None and item is KeepAlive.PING:
                    self._transport.write(_PONG)
        except RemoteProtocolError as error:
            self.is_bad = True
            self.abort(str(error))
        self._on_batch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the endpoint, which fails what went over it."""
        if exc is not None:
            self._why = str(exc)
        self._on_closed(self, self._why)

    def send(self, data: bytes) -> bool:
        """Queue; False when the connection is going, or its peer does not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            self.abort(f"the peer left {_MOST_UNSENT_BYTES} bytes unread")
            return False
        transport.write(data)
        return True

    def ping(self) -> None:
        """Keep the connection alive."""
        self.send(_PING)

    def abort(self, why: str) -> None:
        """Cut the connection; `on_closed` follows."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close when everything queued is sent; `on_closed` follows."""
        self._why = "closed here"
        if self._transport is not None:
            self._transport.close()


def _notice_silent_death(sock: socket.socket | None) -> None:
    if sock is None:
        return
    # What a kernel does not know it leaves out; the connection serves all the same.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
