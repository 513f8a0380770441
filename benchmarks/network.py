"""The network a benchmark runs in: a namespace of its own where root allows, and what the kernel counted there."""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40


def enter_own_namespace() -> bool:
    """Move this process and its coming children into a fresh network namespace with only a loopback interface.

    Nobody else's datagrams are counted there. False where the privilege for it is missing: then nothing has changed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EINVAL, errno.ENOSYS):
            return False
        raise OSError(code, os.strerror(code))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP_RUNNING))
    return True


@dataclass(frozen=True, slots=True)
class UdpCounts:
    """IPv4 UDP of this network namespace since it began (/proc/net/snmp).

    A batch that a sender hands over in one piece (UDP GSO) is one datagram in `out`, but as many as it holds in
    `delivered`: only the latter counts packets.
    """

    delivered: int
    out: int
    # Arrived, and thrown away for want of buffer.
    dropped: int

    def since(self, earlier: "UdpCounts") -> "UdpCounts":
        """Return the growth since `earlier`."""
        return UdpCounts(self.delivered - earlier.delivered, self.out - earlier.out, self.dropped - earlier.dropped)


def read_udp() -> UdpCounts:
    """Return the counts now."""
    names, values = (
        line.split()[1:] for line in Path("/proc/self/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    )
    counts = dict(zip(names, map(int, values), strict=True))
    return UdpCounts(counts["InDatagrams"], counts["OutDatagrams"], counts["RcvbufErrors"])


def drops_of_port(port: int) -> int:
    """Return how many datagrams the kernel has dropped at the IPv4 UDP socket bound to `port` (/proc/net/udp)."""
    total = 0
    for line in Path("/proc/self/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            total += int(fields[-1])
    return total


def free_udp_ports(count: int) -> int:
    """Return the first of `count` successive even-numbered UDP ports that are free on 127.0.0.1 now.

    For peers that cannot take port 0; between this answer and their binding another may come first.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        bound: int = probe.getsockname()[1]
    start = bound & ~1
    for first in chain(range(start, 65_000 - count, 64), range(20_000, start, 64)):
        if _are_free(range(first, first + count)):
            return first
    raise OSError(errno.EADDRINUSE, f"no {count} free UDP ports in a row")


def _are_free(ports: range) -> bool:
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
