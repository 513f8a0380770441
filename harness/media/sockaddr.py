"""Addresses as the kernel takes and gives them (struct sockaddr_in, sockaddr_in6), on Linux."""

import ipaddress
import socket
import struct
import sys
from functools import lru_cache

from harness.media.spec import Address

_IPV4_BYTES, _IPV6_BYTES = 16, 28


def pack(address: Address) -> bytes:
    """Return the sockaddr of a numeric host and a port. Raises ValueError for a host name."""
    host, port = address
    parsed = ipaddress.ip_address(host)
    family = struct.pack("=H", socket.AF_INET if parsed.version == 4 else socket.AF_INET6)
    if isinstance(parsed, ipaddress.IPv4Address):
        return family + struct.pack("!H4s8x", port, parsed.packed)
    scope = socket.if_nametoindex(parsed.scope_id) if parsed.scope_id else 0
    return family + struct.pack("!HI16s", port, 0, parsed.packed) + struct.pack("=I", scope)


@lru_cache(maxsize=8192)
def unpack(name: bytes) -> Address:
    """Return host and port of a sockaddr."""
    family = int.from_bytes(name[:2], sys.byteorder)
    port = int.from_bytes(name[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, name[8:24]), port


def remote_id(address: Address) -> int | None:
    """Return a number that equal addresses share, None for IPv6."""
    parsed = ipaddress.ip_address(address[0])
    return (address[1] << 32) | int(parsed) if parsed.version == 4 else None
