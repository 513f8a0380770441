"""Digits heard as telephone events (RFC 4733): one per event, however often its packets come or get lost."""

from dataclasses import dataclass

from harness.model.errors import RemoteProtocolError
from harness.protocols import dtmf
from harness.protocols.rtp import timestamp_delta


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that was released, or whose last packet has not come while another began."""

    digit: str
    duration_ms: float


@dataclass(slots=True)
class _Pressed:
    timestamp: int
    digit: str
    ticks: int
    is_told: bool = False


class DigitEar:
    """One incoming stream's events; `clock_rate` is that of its telephone-event format."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._pressed: _Pressed | None = None

    def take(self, timestamp: int, payload: bytes) -> Digit | None:
        """Return the digit that this packet completes; None for any other packet, and for events that are no digit.

        An event ends with its end bit, sent three times, or when the next one begins (all three lost).
        """
        try:
            event = dtmf.unpack(payload)
        except RemoteProtocolError:
            return None
        if event.digit is None:
            return None
        missed = None
        pressed = self._pressed
        if pressed is None or timestamp_delta(timestamp, pressed.timestamp) > 0:
            missed = None if pressed is None or pressed.is_told else self._told(pressed)
            pressed = self._pressed = _Pressed(timestamp, event.digit, 0)
        elif timestamp != pressed.timestamp:
            return None
        pressed.ticks = max(pressed.ticks, event.duration)
        if missed is not None:
            return missed
        return self._told(pressed) if event.is_end and not pressed.is_told else None

    def _told(self, pressed: _Pressed) -> Digit:
        pressed.is_told = True
        return Digit(pressed.digit, pressed.ticks * 1000 / self._clock_rate)
