"""DTMF as telephone events (RFC 4733): what a digit is called, and the payload of one event packet.

One event is several packets of one RTP timestamp, its beginning, with a duration that grows; the first has the marker
bit, and the last, with the end bit, is sent three times.
"""

import struct
from dataclasses import dataclass

from harness.model.errors import LocalProtocolError, RemoteProtocolError

# A digit's place is its event code (RFC 4733 3.2, table 3).
DIGITS = "0123456789*#ABCD"
# As SDP says that all of them may be sent (RFC 4733 2.4.1).
DIGIT_EVENTS = "0-15"
NAME = "telephone-event"
PAYLOAD_BYTES = 4
END_PACKETS = 3
# In RTP ticks; longer events are sent in segments (RFC 4733 2.5.1.3), which nobody's finger needs.
LONGEST_TICKS = 0xFFFF


def codes(digits: str) -> list[int]:
    """Return the event code of each digit; LocalProtocolError names what is no digit."""
    found = [DIGITS.find(digit) for digit in digits.upper()]
    if not digits or min(found) < 0:
        raise LocalProtocolError(f"{digits!r} is no DTMF; legal: one or more of {DIGITS}")
    return found


@dataclass(frozen=True, slots=True)
class EventPacket:
    """The payload of one packet; `duration` in RTP ticks since the event's timestamp."""

    code: int
    duration: int
    is_end: bool = False
    # dBm0 below zero: the larger, the fainter.
    volume: int = 10

    @property
    def digit(self) -> str | None:
        """Return the digit, None for an event that is none (16 = flash, tones of modems)."""
        return DIGITS[self.code] if self.code < len(DIGITS) else None


def pack(event: EventPacket) -> bytes:
    """Return the four octets."""
    return struct.pack("!BBH", event.code, (0x80 if event.is_end else 0) | event.volume & 0x3F, event.duration)


def unpack(payload: bytes) -> EventPacket:
    """Read a payload; what stands behind the first event is left alone. RemoteProtocolError when it is too short."""
    if len(payload) < PAYLOAD_BYTES:
        raise RemoteProtocolError(f"a telephone event of {len(payload)} bytes; legal: at least {PAYLOAD_BYTES}")
    code, flags, duration = struct.unpack_from("!BBH", payload)
    return EventPacket(code, duration, bool(flags & 0x80), flags & 0x3F)
