"""TCP and TLS connections read with the kernel's receive times, whatever we were busy with when data came.

The stamp of a read is that of its last segment (Linux 4.13 and newer, SO_TIMESTAMPNS on TCP): what else it holds came
earlier, but after the read before.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Sequence

from harness.media.kernel_time import SO_RXQ_OVFL, SO_TIMESTAMPNS
from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns

READ_BYTES = 65_536
# For recvmsg: room for the stamp, and for the count of drops that datagrams have.
CONTROL_BYTES = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(4)
_TIMESPEC = struct.Struct("@qq")
_COUNT = struct.Struct("@I")
_OFFSET_REFRESH_NS = 250 * NS_PER_MS
_OFFSET_READS = 3


def stamp_of(control: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Return the stamp that recvmsg gave, wall-clock ns; None where there is none."""
    for level, kind, value in control:
        if kind == SO_TIMESTAMPNS and level == socket.SOL_SOCKET and len(value) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            return int(seconds * NS_PER_S + nanoseconds)
    return None


def drops_of(control: Sequence[tuple[int, int, bytes]]) -> int:
    """Return how many datagrams the socket had dropped before this one, since it was opened; 0: none, or not told."""
    for level, kind, value in control:
        if kind == SO_RXQ_OVFL and level == socket.SOL_SOCKET and len(value) >= _COUNT.size:
            return int(_COUNT.unpack_from(value)[0])
    return 0


class WallClock:
    """Carries the kernel's stamps, which are wall-clock times, to the monotonic clock."""

    def __init__(self, wall_ns: Callable[[], int], now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._wall_ns = wall_ns
        self._now_ns = now_ns
        self._offset_ns = 0
        self._due_ns = 0
        # By how much the wall clock moved against the monotonic one between two looks; the largest since last taken.
        self.step_ns = 0

    def monotonic(self, stamp_ns: int) -> int:
        """Return the monotonic time of a stamp; never one that is still to come."""
        now = self._now_ns()
        if now >= self._due_ns:
            self._look(now)
        return min(now, stamp_ns - self._offset_ns)

    def arrival(self, control: Sequence[tuple[int, int, bytes]]) -> int:
        """Return when the kernel had the last of what recvmsg gave; now, where it does not say."""
        stamp = stamp_of(control)
        return self._now_ns() if stamp is None else self.monotonic(stamp)

    def take_step_ns(self) -> int:
        """Return the largest step since the last call."""
        step, self.step_ns = self.step_ns, 0
        return step

    def _look(self, now: int) -> None:
        narrowest, found = NS_PER_S, self._offset_ns
        for _ in range(_OFFSET_READS):
            before = self._now_ns()
            wall = self._wall_ns()
            width = self._now_ns() - before
            if width < narrowest:
                narrowest, found = width, wall - before - width // 2
        if self._due_ns:
            self.step_ns = max(self.step_ns, abs(found - self._offset_ns))
        self._offset_ns, self._due_ns = found, now + _OFFSET_REFRESH_NS


class TlsPipe:
    """TLS without a socket: bytes of the stream in and out, so that the socket is read by us, with its stamps."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def shake_hands(self, sock: socket.socket) -> None:
        """Do the handshake; raises ssl.SSLError, OSError."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, self._outgoing.read())
                data = await loop.sock_recv(sock, READ_BYTES)
                if not data:
                    raise ConnectionResetError("the connection ended in the TLS handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    # The alert that tells the other side why.
                    sock.send(self._outgoing.read())
                raise
            else:
                await loop.sock_sendall(sock, self._outgoing.read())
                return

    @property
    def words(self) -> str:
        """Protocol and cipher."""
        cipher = self._tls.cipher()
        return f"{self._tls.version()} {cipher[0] if cipher else ''}"

    def seal(self, data: bytes) -> bytes:
        """Return `data` as it goes over the stream; raises ssl.SSLError."""
        self._tls.write(data)
        return self._outgoing.read()

    def open(self, data: bytes) -> tuple[bytes, bool]:
        """Return what is in the stream's bytes so far, and whether the peer has closed; raises ssl.SSLError."""
        self._incoming.write(data)
        parts: list[bytes] = []
        while True:
            try:
                part = self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                return b"".join(parts), False
            except ssl.SSLZeroReturnError:
                part = b""
            if not part:
                return b"".join(parts), True
            parts.append(part)

    def pending(self) -> bytes:
        """Return what TLS itself has to say (a key update, say)."""
        return self._outgoing.read()
