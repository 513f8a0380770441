"""RTP (RFC 3550) once more, written to be read: what harness/media/hot is held against."""

import struct
from dataclasses import dataclass

from harness.model.errors import RemoteProtocolError
from harness.protocols.rtp import sequence_delta, timestamp_delta

_HEADER = struct.Struct("!BBHII")
HEADER_BYTES = _HEADER.size
# RFC 3550 A.1: how far a sequence number may jump before the source counts as restarted.
MAX_DROPOUT = 3000
MAX_MISORDER = 100


@dataclass(frozen=True, slots=True)
class RtpHeader:
    """The fields of one packet's header; `payload_start`/`payload_end` delimit the payload, padding taken off."""

    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    ssrc: int
    payload_start: int
    payload_end: int


def pack_header(payload_type: int, marker: bool, sequence_number: int, timestamp: int, ssrc: int) -> bytes:
    """Return a 12-byte header without extensions."""
    return _HEADER.pack(
        0x80, (0x80 if marker else 0) | payload_type, sequence_number & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
    )


def parse_header(packet: bytes) -> RtpHeader:
    """Parse the header of an RTP packet, extensions and CSRCs skipped; raises RemoteProtocolError naming the flaw."""
    if len(packet) < HEADER_BYTES:
        raise RemoteProtocolError(f"RTP packet of {len(packet)} bytes is shorter than its 12-byte header")
    first, second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(packet)
    if first >> 6 != 2:
        raise RemoteProtocolError(f"RTP version {first >> 6} is not 2")
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if len(packet) < start + 4:
            raise RemoteProtocolError("RTP header extension is truncated")
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet)
    if first & 0x20:
        padding = packet[-1]
        if padding == 0 or padding > end - start:
            raise RemoteProtocolError(f"RTP padding of {padding} bytes does not fit the packet")
        end -= padding
    if start > end:
        raise RemoteProtocolError("RTP header is longer than its packet")
    return RtpHeader(second & 0x7F, bool(second & 0x80), sequence_number, timestamp, ssrc, start, end)


class ReceptionStats:
    """What arrived from one source: extended sequence numbers, loss (RFC 3550 A.3), interarrival jitter (A.8).

    A duplicate counts as discarded, never as received, so it cannot hide a loss. A source that restarts (a new SSRC, or
    a jump of the sequence number confirmed by the next packet) begins new counts; the old ones stay in the totals.
    """

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self.ssrc: int | None = None
        self.received = 0
        self.discarded = 0
        self.jitter = 0.0
        self.highest = 0
        self._base = 0
        self._cycles = 0
        self._max_seq = 0
        self._bad_seq: int | None = None
        self._transit: int | None = None
        self._recent: set[int] = set()
        self._current = 0
        self._closed_received = 0
        self._closed_expected = 0
        self._prior_expected = 0
        self._prior_received = 0

    def add(self, header: RtpHeader, arrived_at_ns: int) -> int | None:
        """Count one packet; return its extended sequence number, or None when it is a duplicate or out of range."""
        seq = header.sequence_number
        if self.ssrc != header.ssrc:
            self._restart(header.ssrc, seq)
        delta = sequence_delta(seq, self._max_seq)
        if delta >= MAX_DROPOUT or delta < -MAX_MISORDER:
            if self._bad_seq != seq:
                self._bad_seq = (seq + 1) & 0xFFFF
                self.discarded += 1
                return None
            self._restart(header.ssrc, seq)
            delta = 0
        if delta > 0:
            if seq < self._max_seq:
                self._cycles += 0x10000
            self._max_seq = seq
        extended = self._cycles + self._max_seq + min(delta, 0)
        if extended in self._recent:
            self.discarded += 1
            return None
        self._recent.add(extended)
        self._recent.discard(extended - 512)
        if len(self._recent) > 1024:
            self._recent = {e for e in self._recent if e > extended - 512}
        self._bad_seq = None
        self._base = min(self._base, extended)
        self.highest = self._cycles + self._max_seq
        self.received += 1
        self._current += 1
        self._update_jitter(header.timestamp, arrived_at_ns)
        return extended

    def _restart(self, ssrc: int, seq: int) -> None:
        if self.ssrc is not None:
            self._closed_expected += self.highest - self._base + 1
            self._closed_received += self._current
        self.ssrc = ssrc
        self._base = self._max_seq = self.highest = seq
        self._cycles = 0
        self._current = 0
        self._transit = None
        self._recent.clear()
        self._prior_expected = self._prior_received = 0

    def _update_jitter(self, timestamp: int, arrived_at_ns: int) -> None:
        transit = arrived_at_ns * self._clock_rate // 1_000_000_000 - timestamp
        if self._transit is not None:
            difference = abs(timestamp_delta(transit & 0xFFFFFFFF, self._transit & 0xFFFFFFFF))
            self.jitter += (difference - self.jitter) / 16
        self._transit = transit

    @property
    def expected(self) -> int:
        """Packets the sequence numbers say were sent, over all restarts."""
        if self.ssrc is None:
            return 0
        return self._closed_expected + (self.highest - self._base + 1 if self._current else 0)

    @property
    def lost(self) -> int:
        """Packets missing; never negative, since duplicates are not counted as received."""
        return max(0, self.expected - self.received)

    @property
    def jitter_ms(self) -> float | None:
        """Interarrival jitter in ms, None before two packets."""
        return None if self._transit is None else self.jitter * 1000 / self._clock_rate

    def fraction_lost(self) -> int:
        """Return the loss since the last call as RTCP's 8-bit fraction (RFC 3550 A.3)."""
        expected = self.highest - self._base + 1 if self._current else 0
        interval = expected - self._prior_expected
        lost = interval - (self._current - self._prior_received)
        self._prior_expected, self._prior_received = expected, self._current
        return 0 if interval <= 0 or lost <= 0 else min(255, (lost << 8) // interval)
