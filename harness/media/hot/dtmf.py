"""Telephone events (RFC 4733) of the loop's calls: digits sent tick by tick, events heard.

Out: the marker on the first packet, the timestamp of the first on all, the duration growing, the last one three times;
then a pause, in which the call is silent. In: an event counts as a packet received; to the ear it is a pause. The tests
hold both against harness/protocols/dtmf.py.
"""

from typing import Any

from harness.media.hot.batch import DIGIT_SENT
from harness.media.hot.big_endian import get16, get32, put16
from harness.media.hot.ear import ear_skip
from harness.media.hot.jit import compiled
from harness.media.hot.layout import RTP_HEADER_BYTES, TICK_NS, Event
from harness.media.hot.packet import begin_packet, finish_packet
from harness.media.hot.rare import MOST_DIGITS
from harness.media.hot.reception import DUPLICATE, count_packet
from harness.media.hot.tell import tell
from harness.protocols.dtmf import DIGITS, END_PACKETS, PAYLOAD_BYTES

_CODES = len(DIGITS)
_TICK_MS = TICK_NS // 1_000_000
_END_BIT = 0x80
# dBm0 below zero: within what receivers must take for a tone (RFC 4733 2.3.4 points to -10 and louder as usual).
_VOLUME = 10


@compiled
def is_digit_due(aside: Any) -> bool:
    """Tell whether a digit has the next tick: of those that wait, none begins in a hold."""
    return bool(aside.digits_count > 0 and (aside.tick > 0 or not aside.held))


@compiled
def send_digit_tick(media: Any, index: int, due_ns: int) -> bool:
    """Send one tick of the digit that is first in the queue; False for one of the pause behind it."""
    call = media.calls[index]
    aside = media.asides[index]
    digit = aside.digits[aside.digits_first]
    ticks = (digit >> 32) * call.clock_rate // 1000
    packets = -(-ticks // call.ticks_per_packet)
    if aside.tick == 0:
        aside.timestamp = call.timestamp
    is_sent = aside.tick < packets + END_PACKETS - 1
    if is_sent:
        _send_event(media, index, digit & 0xFF, ticks, packets, due_ns)
    aside.tick += 1
    pause = -(-((digit >> 16) & 0xFFFF) // _TICK_MS)
    if aside.tick >= packets + max(END_PACKETS - 1, pause):
        aside.tick = 0
        aside.digits_first = (aside.digits_first + 1) % MOST_DIGITS
        aside.digits_count -= 1
    return bool(is_sent)


@compiled
def _send_event(media: Any, index: int, code: int, ticks: int, packets: int, due_ns: int) -> None:
    call = media.calls[index]
    aside = media.asides[index]
    slot = begin_packet(media, call, aside.events_out, aside.tick == 0, aside.timestamp, due_ns)
    data = media.batch.data[slot]
    data[RTP_HEADER_BYTES] = code
    data[RTP_HEADER_BYTES + 1] = _VOLUME | (_END_BIT if aside.tick >= packets - 1 else 0)
    put16(data, RTP_HEADER_BYTES + 2, min(ticks, (aside.tick + 1) * call.ticks_per_packet))
    marks = DIGIT_SENT if aside.tick == packets - 1 else 0
    finish_packet(media, index, slot, PAYLOAD_BYTES, marks, code, due_ns)


@compiled
def drop_digits(aside: Any) -> None:
    """Forget what waits to be sent."""
    aside.digits_count = 0
    aside.tick = 0


@compiled
def take_event(media: Any, index: int, data: Any, start: int, end: int, at_ns: int) -> None:
    """Take one packet of a telephone event, whose payload is data[start:end]."""
    call = media.calls[index]
    if end - start < PAYLOAD_BYTES:
        call.bad_packets += 1
        return
    timestamp = get32(data, 4)
    extended = _count(media, index, get32(data, 8), get16(data, 2), timestamp, at_ns)
    if extended == DUPLICATE:
        return
    call.packets_received += 1
    ear_skip(media.ears[index], extended)
    if data[start] < _CODES:
        is_marked = data[1] >= 0x80
        is_end = (data[start + 1] & _END_BIT) != 0
        _follow(media, index, int(data[start]), timestamp, get16(data, start + 2), is_marked, is_end, at_ns)


@compiled
def _count(media: Any, index: int, ssrc: int, sequence: int, timestamp: int, at_ns: int) -> int:
    """Count a packet as any other; that its timestamp stands still says nothing of jitter."""
    reception = media.receptions[index]
    is_known = reception.started and reception.ssrc == ssrc
    jitter, transit = reception.jitter, reception.transit
    has_transit = reception.has_transit if is_known else 0
    extended = count_packet(reception, ssrc, sequence, timestamp, at_ns, media.calls[index].clock_rate)
    reception.jitter, reception.transit, reception.has_transit = jitter, transit, has_transit
    return int(extended)


@compiled
def _follow(
    media: Any, index: int, code: int, timestamp: int, ticks: int, is_marked: bool, is_end: bool, at_ns: int
) -> None:
    """Tell when an event begins, by whichever of its packets comes first, and when it ends, by whichever says so."""
    aside = media.asides[index]
    since = ((timestamp - aside.heard_timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    if aside.heard_code >= 0 and since < 0:
        # Of an event before: come late.
        return
    if aside.heard_code < 0 or since > 0:
        # RFC 4733 2.5.1.3: a long event goes on in a segment that begins where the one before ended, without a marker.
        is_next = aside.heard_code == code and not is_marked and not aside.heard_end and since == aside.heard_ticks
        aside.heard_ticks_before = aside.heard_ticks_before + aside.heard_ticks if is_next else 0
        aside.heard_code = code
        aside.heard_timestamp = timestamp
        aside.heard_ticks = 0
        aside.heard_end = 0
        if not is_next:
            tell(media, Event.DIGIT_HEARD, index, at_ns, code)
    aside.heard_ticks = max(aside.heard_ticks, ticks)
    if is_end and not aside.heard_end:
        aside.heard_end = 1
        tell(media, Event.DIGIT_ENDED, index, at_ns, ((aside.heard_ticks_before + aside.heard_ticks) << 8) | code)
