"""RTP packets (RFC 3550 5.1) read and written."""

import struct
from typing import NamedTuple

_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
# The second octet of an RTCP packet on a shared port (RFC 5761 4).
_RTCP_TYPES = range(192, 224)


class Packet(NamedTuple):
    """One RTP packet, its padding and header extension left out."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP where both come to one port."""
    return len(data) >= 8 and data[0] >> 6 == 2 and data[1] in _RTCP_TYPES


def parse(data: bytes) -> Packet | None:
    """Read a packet; None when it is no RTP."""
    if len(data) < _FIXED.size or data[0] >> 6 != 2:
        return None
    flags, kind, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    start, end = _FIXED.size + 4 * (flags & 0x0F), len(data)
    if flags & 0x10:
        if end < start + _EXTENSION.size:
            return None
        start += _EXTENSION.size + 4 * _EXTENSION.unpack_from(data, start)[1]
    if flags & 0x20:
        end -= data[-1]
    if start > end:
        return None
    return Packet(kind & 0x7F, bool(kind & 0x80), sequence, timestamp, ssrc, data[start:end])


def build(packet: Packet) -> bytes:
    """Write a packet."""
    kind = packet.payload_type | (0x80 if packet.marker else 0)
    return _FIXED.pack(0x80, kind, packet.sequence, packet.timestamp, packet.ssrc) + packet.payload
