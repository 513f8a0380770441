"""Datagrams on their way out: gathered by port, handed to the kernel in one call, and then accounted for.

A run of equal-sized datagrams to one address leaves as one segmented send (UDP_SEGMENT), which costs a third; a
kernel that refuses it three times on end is asked no more. What left when: the send times of one call's datagrams lie
between the clock reads before and after it, spread evenly.
"""

import math
from typing import Any

from harness.media.hot import native
from harness.media.hot.clock import monotonic_ns
from harness.media.hot.jit import compiled
from harness.media.hot.layout import (
    BATCH,
    DATAGRAM_BYTES,
    LATENESS_BUCKETS,
    LATENESS_ZERO,
    Counter,
    Event,
)
from harness.media.hot.relayed import wrap
from harness.media.hot.tell import tell
from harness.model.histogram import GROWTH

# Marks of a datagram: moments of the clip that it carries, or that it is no tick's datagram.
CLIP_STARTED, FIRST_VOICED, LAST_VOICED, NO_TICK, FAILED = 1, 2, 4, 8, 16
# The packet says for the first time that a digit has ended; the clip is then the digit's code.
DIGIT_SENT = 32
_DONTWAIT_NOSIGNAL = 0x40 | 0x4000
_HEADER_BYTES = 64
_FEWEST_SEGMENTS = 3
# A kernel that cannot segment refuses each time; a full buffer or an ICMP error refuses once and plain sends, too.
MOST_REFUSALS = 3
_LOG_GROWTH = math.log(GROWTH)
_FLOOR_MS = 1e-3


@compiled
def open_slot(media: Any, port: int, due_ns: int) -> int:
    """Return the slot to build the next datagram of `port` in, after flushing what cannot go with it."""
    fill = media.batch.fill
    if fill[0] > 0 and (fill[0] == BATCH or fill[1] != port or fill[2] != due_ns):
        flush(media)
    fill[1] = port
    fill[2] = due_ns
    return int(fill[0])


@compiled
def commit_slot(media: Any, call: int, length: int, octets: int, marks: int, clip: int) -> None:
    """Keep the datagram of `length` bytes built in the open slot."""
    batch = media.batch
    slot = batch.fill[0]
    channel = media.calls[call].channel
    if channel != 0:
        length = wrap(batch.data[slot], slot_address(media, slot), channel, length)
    batch.vectors[slot, 1] = length
    batch.headers[slot, 0] = media.names.ctypes.data + media.names.shape[1] * call
    batch.headers[slot, 1] = media.calls[call].name_length
    batch.call[slot] = call
    batch.octets[slot] = octets
    batch.marks[slot] = marks
    batch.clip[slot] = clip
    batch.fill[0] = slot + 1


@compiled
def open_report(media: Any, call: int, due_ns: int) -> int:
    """Return the slot to build a call's RTCP in; one that has an address of its own goes without other datagrams."""
    if media.asides[call].rtcp_name_length != 0:
        flush(media)
    return int(open_slot(media, media.calls[call].port, due_ns))


@compiled
def commit_report(media: Any, call: int, length: int) -> None:
    """Keep the RTCP built in the slot that `open_report` gave."""
    slot = media.batch.fill[0]
    commit_slot(media, call, length, 0, NO_TICK, -1)
    if media.asides[call].rtcp_name_length != 0:
        media.batch.headers[slot, 0] = media.rtcp_names.ctypes.data + media.rtcp_names.shape[1] * call
        media.batch.headers[slot, 1] = media.asides[call].rtcp_name_length
        flush(media)


@compiled
def slot_address(media: Any, slot: int) -> int:
    """Return the memory address of a slot's bytes."""
    return media.batch.data.ctypes.data + DATAGRAM_BYTES * slot


@compiled
def flush(media: Any) -> None:
    """Send the batch and settle each datagram."""
    batch = media.batch
    count = int(batch.fill[0])
    if count == 0:
        return
    before = monotonic_ns(media)
    at = 0
    while at < count:
        at = _send_some(media, at, count)
    took = monotonic_ns(media) - before
    for slot in range(count):
        # When its turn in the batch began: no answer to it can be older, however fast the other side is.
        _settle(media, slot, before + took * slot // count)
    batch.fill[0] = 0


@compiled
def _send_some(media: Any, at: int, count: int) -> int:
    """Send from slot `at` on; return the next slot to be sent."""
    batch = media.batch
    port = media.ports[batch.fill[1]]
    takes_segments = port.segments_refused < MOST_REFUSALS
    run = _equal_run(media, at, count) if takes_segments else count - at
    was_tried = takes_segments and run >= _FEWEST_SEGMENTS
    if was_tried and _send_segments(media, port, at, run):
        port.segments_refused = 0
        return at + run
    end = at + run
    while takes_segments and end < count:
        run = _equal_run(media, end, count)
        if run >= _FEWEST_SEGMENTS:
            break
        end += run
    headers = batch.headers.ctypes.data + _HEADER_BYTES * at
    sent = native.sendmmsg(port.fd, headers, end - at, _DONTWAIT_NOSIGNAL)
    if sent <= 0:
        # An ICMP error of an earlier datagram is told on the next send, which itself was not tried: try once more.
        sent = native.sendmmsg(port.fd, headers, end - at, _DONTWAIT_NOSIGNAL)
    if was_tried and sent > 0:
        port.segments_refused += 1
    if sent <= 0:
        batch.marks[at] |= FAILED
        return at + 1
    return at + sent


@compiled
def _equal_run(media: Any, at: int, count: int) -> int:
    """Return how many datagrams from `at` on have the size and the destination of the first."""
    batch = media.batch
    length = int(batch.vectors[at, 1])
    remote = media.calls[batch.call[at]].remote_id
    end = at + 1
    while end < count and batch.vectors[end, 1] == length and media.calls[batch.call[end]].remote_id == remote:
        end += 1
    return end - at


@compiled
def _send_segments(media: Any, port: Any, at: int, run: int) -> bool:
    batch = media.batch
    header = batch.segment_header
    length = int(batch.vectors[at, 1])
    header[0] = batch.headers[at, 0]
    header[1] = batch.headers[at, 1]
    header[2] = batch.vectors.ctypes.data + 16 * at
    header[3] = run
    batch.segment_control[16] = length & 0xFF
    batch.segment_control[17] = length >> 8
    if native.sendmsg(port.fd, header.ctypes.data, _DONTWAIT_NOSIGNAL) < 0:
        return False
    media.counters[Counter.SEGMENTED] += run
    return True


@compiled
def _settle(media: Any, slot: int, sent_at_ns: int) -> None:
    batch = media.batch
    index = int(batch.call[slot])
    call = media.calls[index]
    marks = batch.marks[slot]
    if marks & FAILED:
        call.send_errors += 1
    elif not marks & NO_TICK:
        call.packets_sent += 1
        call.octets_sent += batch.octets[slot]
    if not marks & NO_TICK:
        note_tick(media, sent_at_ns - batch.fill[2])
    if marks & (CLIP_STARTED | FIRST_VOICED | LAST_VOICED | DIGIT_SENT):
        tell_moments(media, index, marks, batch.clip[slot], sent_at_ns)


@compiled
def tell_moments(media: Any, index: int, marks: int, clip: int, at_ns: int) -> None:
    """Tell which moments of a clip left with one packet."""
    if marks & CLIP_STARTED:
        tell(media, Event.CLIP_STARTED, index, at_ns, clip)
    if marks & FIRST_VOICED:
        tell(media, Event.SPEECH_STARTED, index, at_ns, clip)
    if marks & LAST_VOICED:
        tell(media, Event.SPEECH_ENDED, index, at_ns, clip)
    if marks & DIGIT_SENT:
        tell(media, Event.DIGIT_SENT, index, at_ns, clip)


@compiled
def note_tick(media: Any, late_ns: int) -> None:
    """Count one tick and how late its packet left, in the buckets of model/histogram.py."""
    media.counters[Counter.TICKS] += 1
    media.counters[Counter.LATENESS_MAX_NS] = max(media.counters[Counter.LATENESS_MAX_NS], late_ns)
    late_ms = late_ns / 1e6
    bucket = 0
    if late_ms > _FLOOR_MS:
        bucket = min(math.ceil(math.log(late_ms) / _LOG_GROWTH) + LATENESS_ZERO, LATENESS_BUCKETS - 1)
    media.lateness[bucket] += 1
