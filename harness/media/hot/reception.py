"""What arrived from one source: extended sequence numbers, loss (RFC 3550 A.3), interarrival jitter (A.8).

A duplicate counts as discarded, never as received, so it cannot hide a loss. A source that restarts (a new SSRC, or a
jump of the sequence number confirmed by the next packet) begins new counts; the old ones stay in the totals.
"""

from typing import Any

from harness.media.hot.jit import compiled
from harness.media.hot.seen import see, was_seen

# RFC 3550 A.1: how far a sequence number may jump before the source counts as restarted.
MAX_DROPOUT = 3000
MAX_MISORDER = 100
DUPLICATE = -1
_NS = 1_000_000_000
# Room below the first extended number for packets that come out of order; reports to the peer are without it.
FIRST_CYCLE = 1 << 16


@compiled
def count_packet(reception: Any, ssrc: int, sequence: int, timestamp: int, arrived_at_ns: int, clock_rate: int) -> int:
    """Count one packet; return its extended sequence number, DUPLICATE when it is one or is out of range."""
    if not reception.started or reception.ssrc != ssrc:
        _restart(reception, ssrc, sequence)
    delta = ((sequence - (reception.highest & 0xFFFF) + 0x8000) & 0xFFFF) - 0x8000
    if delta >= MAX_DROPOUT or delta < -MAX_MISORDER:
        if reception.bad_sequence != sequence:
            reception.bad_sequence = (sequence + 1) & 0xFFFF
            reception.discarded += 1
            return DUPLICATE
        _restart(reception, ssrc, sequence)
        delta = 0
    extended = reception.highest + delta
    if was_seen(reception.seen, reception.highest, extended):
        reception.discarded += 1
        return DUPLICATE
    reception.highest = see(reception.seen, reception.highest, extended)
    reception.bad_sequence = -1
    reception.base = min(reception.base, extended)
    reception.received += 1
    reception.current += 1
    _update_jitter(reception, timestamp, arrived_at_ns, clock_rate)
    return extended


@compiled
def _restart(reception: Any, ssrc: int, sequence: int) -> None:
    if reception.started:
        reception.closed_expected += reception.highest - reception.base + 1
    reception.started = 1
    reception.ssrc = ssrc
    reception.base = sequence + FIRST_CYCLE
    reception.highest = reception.base
    reception.bad_sequence = -1
    reception.current = 0
    reception.has_transit = 0
    reception.prior_expected = 0
    reception.prior_received = 0
    reception.seen[:] = 0


@compiled
def _update_jitter(reception: Any, timestamp: int, arrived_at_ns: int, clock_rate: int) -> None:
    # Whole seconds apart from the rest, so that the product stays within 64 bits.
    arrived = arrived_at_ns // _NS * clock_rate + arrived_at_ns % _NS * clock_rate // _NS
    transit = (arrived - timestamp) & 0xFFFFFFFF
    if reception.has_transit:
        difference = abs(((transit - reception.transit + 0x80000000) & 0xFFFFFFFF) - 0x80000000)
        reception.jitter += (difference - reception.jitter) / 16
    reception.has_transit = 1
    reception.transit = transit


@compiled
def expected_now(reception: Any) -> int:
    """Return how many packets the sequence numbers of the present source say were sent."""
    return reception.highest - reception.base + 1 if reception.current else 0


@compiled
def packets_lost(reception: Any) -> int:
    """Return the packets missing over all restarts; never negative, since duplicates are not counted as received."""
    return max(0, reception.closed_expected + expected_now(reception) - reception.received)


@compiled
def fraction_lost(reception: Any) -> int:
    """Return the loss since the last call as RTCP's 8-bit fraction (RFC 3550 A.3)."""
    expected = expected_now(reception)
    interval = expected - reception.prior_expected
    lost = interval - (reception.current - reception.prior_received)
    reception.prior_expected = expected
    reception.prior_received = reception.current
    if interval <= 0 or lost <= 0:
        return 0
    return min(255, (lost << 8) // interval)
