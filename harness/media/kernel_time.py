"""Kernel receive timestamps: when a datagram reached this host, whatever Python was busy with then."""

import socket
import struct
import time

# asm-generic/socket.h; Python's socket module does not export them.
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
_TIMESPEC = struct.Struct("=qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(4)
_MAX_DATAGRAM = 2048


def enable(sock: socket.socket) -> None:
    """Have the kernel stamp each datagram and count those it dropped for want of buffer."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)


class RealtimeOffset:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC, re-sampled, so that kernel stamps land on the run's clock.

    A step of the wall clock between two samples would shift stamps; its size is kept in `largest_step_ns`.
    """

    def __init__(self) -> None:
        self.offset_ns = self._sample()
        self.largest_step_ns = 0

    @staticmethod
    def _sample() -> int:
        best_width, best_offset = 1 << 62, 0
        for _ in range(5):
            before = time.monotonic_ns()
            real = time.time_ns()
            after = time.monotonic_ns()
            if after - before < best_width:
                best_width, best_offset = after - before, real - (before + after) // 2
        return best_offset

    def refresh(self) -> None:
        """Sample again; call about once a second."""
        offset = self._sample()
        self.largest_step_ns = max(self.largest_step_ns, abs(offset - self.offset_ns))
        self.offset_ns = offset


def receive(sock: socket.socket, offset: RealtimeOffset) -> tuple[bytes, tuple[str, int], int, int | None]:
    """Return datagram, sender, its arrival in monotonic ns, and the socket's drop count if the kernel told one.

    Raises BlockingIOError when nothing waits. A datagram without a stamp is stamped now.
    """
    data, ancillary, _flags, address = sock.recvmsg(_MAX_DATAGRAM, _ANCILLARY_BYTES)
    arrived_at_ns: int | None = None
    drops: int | None = None
    for level, kind, value in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == SO_TIMESTAMPNS and len(value) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            arrived_at_ns = seconds * 1_000_000_000 + nanoseconds - offset.offset_ns
        elif kind == SO_RXQ_OVFL:
            drops = int.from_bytes(value[:4], "little")
    return data, address, time.monotonic_ns() if arrived_at_ns is None else arrived_at_ns, drops
