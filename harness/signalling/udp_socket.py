"""A UDP socket for signalling: read in batches with the kernel's times; told of peers that are gone."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable

from harness.model.clock import monotonic_ns
from harness.signalling import kernel_time
from harness.signalling.kernel_time import ANCILLARY_BYTES, KernelClock

# What a wake-up reads at most: then timers and other sockets have their turn.
_BATCH = 64
_LARGEST = 65_535
_BUFFER_BYTES = 4 << 20
# asm-generic/socket.h; beyond net.core.rmem_max for who may.
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
# linux/in.h, linux/in6.h, linux/errqueue.h
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ERRORS = ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR))
_ERRNO = struct.Struct("=I")

Address = tuple[str, int]


class UdpSocket:
    """One bound socket: `on_datagram(data, source, at_ns)`, `on_batch()` after each wake-up, `on_error(peer, why)`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        on_datagram: Callable[[bytes, Address, int], None],
        on_batch: Callable[[], None],
        on_error: Callable[[Address, str], None],
    ) -> None:
        self._on_datagram = on_datagram
        self._on_batch = on_batch
        self.on_error = on_error
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = _bound(self._family, host, port)
        self._clock = KernelClock()
        # Datagrams the kernel dropped because this process read too slowly.
        self.dropped = 0
        name = self._sock.getsockname()
        self.address: Address = (name[0], name[1])
        asyncio.get_running_loop().add_reader(self._sock, self._readable)

    def take_over(self, readable: Callable[[], None], on_error: Callable[[Address, str], None]) -> None:
        """Have somebody else read from now on, who gives what is not his to `deliver`, and hears of errors first."""
        self.on_error = on_error
        asyncio.get_running_loop().add_reader(self._sock, readable)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def clock_offset_ns(self, now_ns: int) -> int:
        """Return by how much the kernel's stamps are ahead of the monotonic clock."""
        self._clock.refresh(now_ns)
        return self._clock.offset_ns

    def deliver(self, data: bytes, source: Address, at_ns: int) -> None:
        """Take a datagram that somebody else has read."""
        self._on_datagram(data, source, at_ns)

    def send(self, data: bytes, to: Address) -> bool:
        """Send; False when the kernel would not take it: SIP sends again what is not answered."""
        for _ in range(2):
            try:
                self._sock.sendto(data, to)
            except BlockingIOError:
                return False
            except OSError as error:
                # An earlier datagram's ICMP error is told at the next call, whoever that is for.
                if not self.take_errors():
                    self.on_error(to, error.strerror or str(error))
                    return False
            else:
                return True
        return False

    def close(self) -> None:
        """Stop reading and close."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _readable(self) -> None:
        now_ns = monotonic_ns()
        self._clock.refresh(now_ns)
        ancillary: list[tuple[int, int, bytes]] = []
        for _ in range(_BATCH):
            try:
                data, ancillary, _flags, source = self._sock.recvmsg(_LARGEST, ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError:
                self.take_errors()
                continue
            self._on_datagram(data, (source[0], source[1]), self._clock.monotonic_ns(ancillary, now_ns))
        # The count only grows, so the last datagram's says it all.
        self.dropped = max(self.dropped, kernel_time.dropped(ancillary))
        if not ancillary:
            # Nothing came, so it is the error queue that woke us.
            self.take_errors()
        self._on_batch()

    def take_errors(self) -> bool:
        """Read the socket's error queue, told by ICMP; tell whether there was anything in it."""
        was_any = False
        with contextlib.suppress(BlockingIOError):
            while True:
                _data, ancillary, _flags, peer = self._sock.recvmsg(64, 512, socket.MSG_ERRQUEUE)
                was_any = True
                if peer:
                    self.on_error((peer[0], peer[1]), _reason(ancillary))
        return was_any


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_BYTES)
        kernel_time.enable(sock)
        with contextlib.suppress(OSError):
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _reason(ancillary: list[tuple[int, int, bytes]]) -> str:
    """Return why, by struct sock_extended_err (its first word is the errno); the time of its arrival lies beside it."""
    for level, kind, data in ancillary:
        if (level, kind) in _ERRORS and len(data) >= _ERRNO.size:
            return f"{os.strerror(_ERRNO.unpack_from(data)[0])} (told by ICMP)"
    return "unreachable (told by ICMP)"
