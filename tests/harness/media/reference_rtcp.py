"""RTCP (RFC 3550 section 6) once more, written to be read: what harness/media/hot/rtcp.py is held against."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from harness.model.errors import RemoteProtocolError

SR, RR, SDES, BYE = 200, 201, 202, 203
_NTP_UNIX_OFFSET_S = 2_208_988_800
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What the peer says of the stream `ssrc` it receives from us (or we of theirs)."""

    ssrc: int
    fraction_lost: int
    packets_lost: int
    highest_sequence: int
    jitter: int
    # Middle 32 bits of the NTP time of the last SR, and the delay since, both in 1/65536 s.
    last_sr: int
    delay_since_last_sr: int


@dataclass(frozen=True, slots=True)
class Report:
    """One SR or RR; `ntp_middle` is None for an RR."""

    ssrc: int
    ntp_middle: int | None
    blocks: tuple[ReportBlock, ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """The sources that leave."""

    ssrcs: tuple[int, ...]


def ntp_time(unix_ns: int) -> int:
    """Return the 64-bit NTP timestamp of a Unix time in ns."""
    seconds, nanoseconds = divmod(unix_ns, _NS)
    return ((seconds + _NTP_UNIX_OFFSET_S) << 32) | ((nanoseconds << 32) // _NS)


def ntp_middle(ntp: int) -> int:
    """Return the middle 32 bits of an NTP timestamp, the form reports quote."""
    return (ntp >> 16) & 0xFFFFFFFF


def round_trip_ms(block: ReportBlock, now_unix_ns: int) -> float | None:
    """Return the round trip in ms that `block` tells (RFC 3550 6.4.1), None when it quotes no SR of ours."""
    if block.last_sr == 0:
        return None
    units = (ntp_middle(ntp_time(now_unix_ns)) - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
    # Rounding of 1/65536 s may take a loopback round trip just below zero.
    return 0.0 if units >= 0x80000000 else units * 1000 / 65536


def _pack(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _pack_block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(0x7FFFFF, block.packets_lost)) & 0xFFFFFF
    return struct.pack(
        "!IIIIII",
        block.ssrc,
        (block.fraction_lost << 24) | lost,
        block.highest_sequence & 0xFFFFFFFF,
        block.jitter & 0xFFFFFFFF,
        block.last_sr,
        block.delay_since_last_sr & 0xFFFFFFFF,
    )


def pack_sender_report(
    ssrc: int, now_unix_ns: int, rtp_timestamp: int, packets: int, octets: int, blocks: list[ReportBlock], cname: str
) -> bytes:
    """Return a compound packet: SR with `blocks`, then SDES with the CNAME."""
    ntp = ntp_time(now_unix_ns)
    body = struct.pack(
        "!IIIIII",
        ssrc,
        ntp >> 32,
        ntp & 0xFFFFFFFF,
        rtp_timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    name = cname.encode()
    item = struct.pack("!IBB", ssrc, 1, len(name)) + name + b"\0"
    item += b"\0" * (-len(item) % 4)
    return _pack(SR, len(blocks), body + b"".join(map(_pack_block, blocks))) + _pack(SDES, 1, item)


def pack_bye(ssrc: int) -> bytes:
    """Return a compound packet that says goodbye: an empty RR, then BYE."""
    return _pack(RR, 0, struct.pack("!I", ssrc)) + _pack(BYE, 1, struct.pack("!I", ssrc))


def _blocks(body: bytes, offset: int, count: int) -> Iterator[ReportBlock]:
    for _ in range(count):
        if len(body) < offset + 24:
            raise RemoteProtocolError("RTCP report block is truncated")
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from("!IIIIII", body, offset)
        lost = loss & 0xFFFFFF
        yield ReportBlock(
            ssrc, loss >> 24, lost - 0x1000000 if lost & 0x800000 else lost, highest, jitter, last_sr, delay
        )
        offset += 24


def parse(packet: bytes) -> list[Report | Bye]:
    """Parse a compound packet; kinds we do not use are skipped; raises RemoteProtocolError naming the flaw."""
    result: list[Report | Bye] = []
    offset = 0
    while offset < len(packet):
        if len(packet) - offset < 4:
            raise RemoteProtocolError("RTCP header is truncated")
        first, kind, words = struct.unpack_from("!BBH", packet, offset)
        if first >> 6 != 2:
            raise RemoteProtocolError(f"RTCP version {first >> 6} is not 2")
        body = packet[offset + 4 : offset + 4 + 4 * words]
        if len(body) < 4 * words:
            raise RemoteProtocolError(f"RTCP packet says {4 * words} bytes of body, {len(body)} came")
        offset += 4 + 4 * words
        parsed = _parse_one(kind, first & 0x1F, body)
        if parsed is not None:
            result.append(parsed)
    return result


def _parse_one(kind: int, count: int, body: bytes) -> Report | Bye | None:
    if kind == SR:
        if len(body) < 24:
            raise RemoteProtocolError("RTCP sender report is truncated")
        ssrc, ntp_high, ntp_low = struct.unpack_from("!III", body)
        return Report(ssrc, ntp_middle(ntp_high << 32 | ntp_low), tuple(_blocks(body, 24, count)))
    if kind == RR:
        if len(body) < 4:
            raise RemoteProtocolError("RTCP receiver report is truncated")
        return Report(int.from_bytes(body[:4], "big"), None, tuple(_blocks(body, 4, count)))
    if kind == BYE:
        if len(body) < 4 * count:
            raise RemoteProtocolError("RTCP BYE is truncated")
        return Bye(tuple(int.from_bytes(body[4 * i : 4 * i + 4], "big") for i in range(count)))
    return None
