"""RTCP of one call (RFC 3550 6): sender reports with a report on what is heard, CNAME, BYE."""

import struct
from dataclasses import dataclass

from harness.protocols.rtp import sequence_delta

_SR, _SDES, _BYE = 200, 202, 203
_CNAME_ITEM = 1
# Seconds from 1900 to 1970, NTP's and Unix's epochs.
_NTP_OFFSET_S = 2_208_988_800
_REPORT = struct.Struct("!IIIIII")


@dataclass(slots=True)
class Reception:
    """What has arrived of one incoming stream: RFC 3550 appendix A.3 and A.8."""

    ssrc: int
    clock_rate: int
    first: int = -1
    highest: int = 0
    received: int = 0
    jitter: float = 0.0
    _transit: float | None = None
    _expected_before: int = 0
    _received_before: int = 0
    # The middle 32 bits of the NTP time of the peer's last report, and when it came.
    last_sr: int = 0
    last_sr_at_ns: int = 0

    def take(self, sequence: int, timestamp: int, at_ns: int) -> None:
        """Count a packet."""
        if self.first < 0:
            self.first = self.highest = sequence
        else:
            step = sequence_delta(sequence, self.highest & 0xFFFF)
            self.highest += max(0, step)
        self.received += 1
        transit = at_ns * self.clock_rate / 1e9 - timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            # A timestamp that wrapped or began anew says nothing about the network.
            if change < self.clock_rate:
                self.jitter += (change - self.jitter) / 16
        self._transit = transit

    def note_report(self, told: "Told", now_ns: int) -> None:
        """Remember the sender report in a compound packet read at `now_ns`, where it is one of this stream's."""
        if told.ntp_middle and told.sender_ssrc == self.ssrc:
            self.last_sr, self.last_sr_at_ns = told.ntp_middle, now_ns

    @property
    def lost(self) -> int:
        """Packets that did not come, duplicates counted against them; never negative."""
        return max(0, self.highest - self.first + 1 - self.received) if self.received else 0

    def block(self, now_ns: int) -> bytes:
        """Return a report block on the time since the one before."""
        expected = self.highest - self.first + 1
        in_interval, came = expected - self._expected_before, self.received - self._received_before
        self._expected_before, self._received_before = expected, self.received
        fraction = max(0, (in_interval - came) * 256 // in_interval) if in_interval > 0 else 0
        since = (now_ns - self.last_sr_at_ns) * 65_536 // 1_000_000_000 if self.last_sr else 0
        return _REPORT.pack(
            self.ssrc,
            min(fraction, 255) << 24 | min(self.lost, 0x7FFFFF),
            self.highest & 0xFFFFFFFF,
            int(self.jitter),
            self.last_sr,
            since & 0xFFFFFFFF,
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender report says of our stream."""

    ssrc: int
    timestamp: int
    packets: int
    octets: int


def report(sent: Sent, heard: Reception | None, cname: str, unix_s: float, now_ns: int) -> bytes:
    """Return a compound packet: sender report, report block where something is heard, CNAME."""
    block = b"" if heard is None or not heard.received else heard.block(now_ns)
    ntp = int((unix_s + _NTP_OFFSET_S) * (1 << 32))
    head = struct.pack(
        "!BBHIQIII",
        0x80 | (1 if block else 0),
        _SR,
        6 + len(block) // 4,
        sent.ssrc,
        ntp & (1 << 64) - 1,
        sent.timestamp & 0xFFFFFFFF,
        sent.packets & 0xFFFFFFFF,
        sent.octets & 0xFFFFFFFF,
    )
    return head + block + _cname(sent.ssrc, cname)


def goodbye(sent: Sent, heard: Reception | None, cname: str, unix_s: float, now_ns: int) -> bytes:
    """Return the last compound packet of a stream."""
    return report(sent, heard, cname, unix_s, now_ns) + struct.pack("!BBHI", 0x81, _BYE, 1, sent.ssrc)


def _cname(ssrc: int, cname: str) -> bytes:
    name = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, _CNAME_ITEM, len(name)) + name
    # A zero octet ends the items; then to the next word.
    chunk += bytes(4 - len(chunk) % 4)
    return struct.pack("!BBH", 0x81, _SDES, len(chunk) // 4) + chunk


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer's compound packet says that matters here."""

    sender_ssrc: int
    # The middle of the NTP time of its sender report, 0 without one.
    ntp_middle: int
    is_bye: bool


def parse(data: bytes) -> Told | None:
    """Read a compound packet; None when it is none."""
    at, sender, middle, is_bye = 0, -1, 0, False
    while at + 8 <= len(data):
        flags, kind, words, ssrc = struct.unpack_from("!BBHI", data, at)
        end = at + 4 * (words + 1)
        if flags >> 6 != 2 or end > len(data):
            return None
        sender = ssrc if sender < 0 else sender
        if kind == _SR and end - at >= 28:
            middle = struct.unpack_from("!Q", data, at + 8)[0] >> 16 & 0xFFFFFFFF
        is_bye = is_bye or kind == _BYE
        at = end
    return None if sender < 0 else Told(sender, middle, is_bye)
