"""Kernel receive times of datagrams on the monotonic clock: when one reached this host, however busy we were then."""

import socket
import struct
import time

# asm-generic/socket.h; Python's socket module does not export them.
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
ANCILLARY_BYTES = 128
_TIMESPEC = struct.Struct("@qq")
_COUNT = struct.Struct("@I")
_NS_PER_S = 1_000_000_000
# Kernel stamps are wall-clock times, which may be stepped or slewed.
_REFRESH_NS = 250_000_000
_SAMPLES = 3


def enable(sock: socket.socket) -> None:
    """Have the kernel stamp each datagram and count those it dropped for want of buffer."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)


class KernelClock:
    """Carries kernel stamps to the monotonic clock."""

    def __init__(self) -> None:
        self.offset_ns = 0
        self._due_ns = 0

    def refresh(self, now_ns: int) -> None:
        """Sample the offset of the clocks again when it is due; call it once a batch."""
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + _REFRESH_NS
            self.offset_ns = min(_pair() for _ in range(_SAMPLES))[1]

    def monotonic_ns(self, ancillary: list[tuple[int, int, bytes]], now_ns: int) -> int:
        """Return when the datagram with this ancillary data arrived: never after `now_ns`, the default."""
        for _level, kind, data in ancillary:
            if kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                return int(min(now_ns, seconds * _NS_PER_S + nanoseconds - self.offset_ns))
        return now_ns


def dropped(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return how many datagrams this socket has dropped since it was opened; 0 where the kernel says nothing."""
    return next((int(_COUNT.unpack_from(data)[0]) for _level, kind, data in ancillary if kind == SO_RXQ_OVFL), 0)


def _pair() -> tuple[int, int]:
    """Return (how long the reads took, CLOCK_REALTIME minus CLOCK_MONOTONIC)."""
    before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
    return after - before, real - (before + after) // 2
