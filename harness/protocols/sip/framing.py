"""SIP on a stream (RFC 3261 18.3, RFC 5626 3.5.1): octets in, whole messages and keep-alives out.

A message ends where its Content-Length says; without one it has no body. What cannot be followed raises BadMessage,
and the connection must be closed: where the next message begins is not known.
"""

import re
from enum import Enum

from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.headers import parse_number

# Of one message: far above any real one, so that a peer that never ends its own costs no memory.
LIMIT_BYTES = 256 * 1024
PING = b"\r\n\r\n"
PONG = b"\r\n"

# Also with bare line feeds, as `reading.parse` tolerates them.
_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(?:\r?\n[ \t]+)?([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class KeepAlive(Enum):
    """What stands between messages."""

    # Two line ends: to be answered with PONG.
    PING = 1
    # One line end: the answer to our ping.
    PONG = 2


class StreamFramer:
    """Cuts one connection's octets into messages; one a connection."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._buffer = bytearray()
        # Where the search for the end of the head goes on: what was searched is not searched again.
        self._searched = 0
        # Octets of the message at the front, once its head is complete.
        self._wanted: int | None = None
        # Why the stream cannot be followed any more; None: it can.
        self.broken: BadMessage | None = None

    def feed(self, data: bytes) -> list[bytes | KeepAlive]:
        """Return what is complete now, in order.

        BadMessage: close the connection. Messages ahead of what broke it are returned first; `broken` is set then, and
        the next call raises.
        """
        if self.broken is not None:
            raise self.broken
        self._buffer += data
        found: list[bytes | KeepAlive] = []
        try:
            while (item := self._next()) is not None:
                found.append(item)
        except BadMessage as error:
            self.broken = error
            self._buffer.clear()
            if not found:
                raise
        return found

    @property
    def is_between(self) -> bool:
        """Whether no message has begun: a connection may end here and nothing is lost."""
        return not self._buffer.strip(b"\r\n")

    def _next(self) -> bytes | KeepAlive | None:
        buffer = self._buffer
        if self._wanted is None:
            if buffer.startswith((b"\r", b"\n")):
                return self._keep_alive()
            end = self._end_of_head()
            if end is None:
                return None
            self._wanted = end + _content_length(bytes(buffer[:end]))
            if self._wanted > self._limit:
                raise BadMessage(f"a message of {self._wanted} octets; legal: up to {self._limit}", 513)
        if len(buffer) < self._wanted:
            return None
        message = bytes(buffer[: self._wanted])
        self._drop(self._wanted)
        return message

    def _keep_alive(self) -> KeepAlive | None:
        buffer = self._buffer
        if buffer.startswith(PING):
            self._drop(len(PING))
            return KeepAlive.PING
        if len(buffer) < len(PING) and PING.startswith(buffer):
            if buffer != PONG:
                return None
            # A pong, or half a ping: told apart by what comes next, and the pong is told of now.
            self._drop(len(PONG))
            return KeepAlive.PONG
        self._drop(2 if buffer.startswith(PONG) else 1)
        return KeepAlive.PONG

    def _end_of_head(self) -> int | None:
        found = _END.search(self._buffer, self._searched)
        if found is None:
            # An end may have begun with the last three octets.
            self._searched = max(0, len(self._buffer) - 3)
            if len(self._buffer) > self._limit:
                raise BadMessage(f"header fields of over {self._limit} octets", 513)
            return None
        return found.end()

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0
        self._wanted = None


def _content_length(head: bytes) -> int:
    found = _LENGTH.findall(head)
    if not found:
        return 0
    if len(set(found)) > 1:
        raise BadMessage("Content-Length is given twice, and differs")
    return parse_number(found[0].decode("latin-1").strip(" \t"), "Content-Length")
