"""A front's line to one of its media servers: frames with descriptors, over a pair of Unix sockets, both ways.

frame = length of all that follows (4) | flags (1) | length of the head (4) | head: JSON with "kind" | payload

Unix sockets hand a descriptor over with the bytes beside it (unix(7), SCM_RIGHTS); each frame has one or none, and it
arrives no later than the frame's first byte. When either process ends, the other reads the end of the stream at once.
"""

import array
import asyncio
import json
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)

_HEAD = struct.Struct("!IBI")
_HAS_DESCRIPTOR = 1
_READ_BYTES = 256 * 1024
_MOST_DESCRIPTORS = 32
# What may wait for a peer that does not read; a server that is so far behind gets nothing more.
MOST_WAITING_BYTES = 8 << 20
# An offer, its head and what a pickled configuration weighs are far below.
_LARGEST_FRAME = 4 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """What came: `descriptor` belongs to whoever takes the frame."""

    kind: str
    fields: dict[str, Any]
    payload: bytes = b""
    descriptor: int | None = None


@dataclass(slots=True)
class _Outgoing:
    data: memoryview
    # Ours: closed when the kernel has it, or when it never will.
    descriptor: int | None


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends; neither outlives an exec, unless it is passed on by name."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Link:
    """One end, on the running event loop. `on_closed` is called once, however the line ended, but not by `close`."""

    def __init__(self, sock: socket.socket, on_frame: Callable[[Frame], None], on_closed: Callable[[], None]) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()
        self._waiting: deque[_Outgoing] = deque()
        self._waiting_bytes = 0
        self.is_closed = False
        self._loop.add_reader(sock, self._readable)

    # --- out ---

    def send(self, kind: str, payload: bytes = b"", *, descriptor: int | None = None, **fields: Any) -> bool:
        """Send a frame; False where the line is closed or its peer is too far behind. `descriptor` is duplicated."""
        if self.is_closed or self._waiting_bytes > MOST_WAITING_BYTES:
            return False
        head = json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode()
        flags = 0 if descriptor is None else _HAS_DESCRIPTOR
        data = _HEAD.pack(_HEAD.size - 4 + len(head) + len(payload), flags, len(head)) + head + payload
        duplicate = None if descriptor is None else os.dup(descriptor)
        self._waiting.append(_Outgoing(memoryview(data), duplicate))
        self._waiting_bytes += len(data)
        if len(self._waiting) == 1:
            self._write()
        return not self.is_closed

    def _write(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            try:
                sent = self._send(first)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._write)
                return
            except OSError as error:
                self._over(error.strerror or str(error))
                return
            self._waiting_bytes -= sent
            first.data = first.data[sent:]
            if not first.data:
                self._waiting.popleft()
        self._loop.remove_writer(self._sock)

    def _send(self, outgoing: _Outgoing) -> int:
        if outgoing.descriptor is None:
            return self._sock.send(outgoing.data)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [outgoing.descriptor]))]
        sent = self._sock.sendmsg([outgoing.data], rights)
        os.close(outgoing.descriptor)
        outgoing.descriptor = None
        return sent

    # --- in ---

    def _readable(self) -> None:
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, _flags, _ = self._sock.recvmsg(_READ_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError as error:
            self._over(error.strerror or str(error))
            return
        for level, kind, words in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(words[: len(words) - len(words) % numbers.itemsize])
                self._descriptors.extend(numbers)
        if not data:
            self._over("its other end was closed")
            return
        self._buffer += data
        self._take_frames()

    def _take_frames(self) -> None:
        while not self.is_closed and len(self._buffer) >= _HEAD.size:
            length, flags, head_length = _HEAD.unpack_from(self._buffer)
            if length > _LARGEST_FRAME:
                self._over(f"a frame of {length} bytes; legal: up to {_LARGEST_FRAME}")
                return
            if len(self._buffer) < 4 + length:
                return
            frame = self._cut(length, flags, head_length)
            try:
                self._on_frame(frame)
            except Exception:  # noqa: BLE001 -- one frame's fault is no other's
                _log.exception("a frame %r could not be handled", frame.kind)

    def _cut(self, length: int, flags: int, head_length: int) -> Frame:
        body = _HEAD.size + head_length
        fields = json.loads(self._buffer[_HEAD.size : body])
        payload = bytes(self._buffer[body : 4 + length])
        del self._buffer[: 4 + length]
        descriptor = self._descriptors.popleft() if flags & _HAS_DESCRIPTOR and self._descriptors else None
        return Frame(fields.pop("kind"), fields, payload, descriptor)

    # --- the end ---

    def close(self) -> None:
        """Close this end; any number of times. What waits is not sent."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for outgoing in self._waiting:
            if outgoing.descriptor is not None:
                os.close(outgoing.descriptor)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._waiting.clear()
        self._descriptors.clear()

    def _over(self, why: str) -> None:
        _log.debug("a media server's line ended: %s", why)
        self.close()
        self._on_closed()
