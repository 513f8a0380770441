"""The numbers of an RTP stream on its way out, and what a sender report says of it (RFC 3550 5.1, 6.4.1)."""

import secrets

from target_stack.edge.playout import Frame
from target_stack.edge.rtp import packet as rtp
from target_stack.edge.rtp import rtcp

_REPORT_TICKS = 250
_FIRST_REPORT_TICK = 25


class OutgoingRtp:
    """One stream, on the beat of a Ticker: `elapsed` at each tick, `packet` for each that is to be sent."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self._sequence = secrets.randbits(15)
        self._first_timestamp = self._timestamp = secrets.randbits(31)
        self._first_tick: int | None = None
        self._packets = self._octets = 0
        self._is_speaking = False

    def elapsed(self, tick: int) -> int:
        """Return how many packets' time has gone by at `tick`, 0 at the first one asked about."""
        if self._first_tick is None:
            self._first_tick = tick
        return tick - self._first_tick

    def packet(self, payload_type: int, frame: Frame, payload: bytes, offset: int) -> bytes:
        """Return the next packet: `frame` as `payload`, `offset` of the RTP clock behind the first tick."""
        is_first = frame.samples is not None and not self._is_speaking
        self._is_speaking = frame.samples is not None
        self._timestamp = (self._first_timestamp + offset) & 0xFFFFFFFF
        data = rtp.build(rtp.Packet(payload_type, is_first, self._sequence, self._timestamp, self.ssrc, payload))
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        return data

    def sent(self) -> rtcp.Sent:
        """Return what a sender report says."""
        return rtcp.Sent(self.ssrc, self._timestamp, self._packets, self._octets)


def is_report_due(elapsed: int) -> bool:
    """Tell whether RTCP goes behind the packet of this time: after half a second, then every five (RFC 3550 6.2)."""
    return elapsed % _REPORT_TICKS == _FIRST_REPORT_TICK
