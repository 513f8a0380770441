"""What a bad network does to one call's packets in one direction, and the line in which the late ones wait.

Order of what happens to a packet: loss, then the bottleneck's queue, then delay and jitter, then being held back for
others to overtake; a copy takes its own jitter. Everything is drawn from the row's own random numbers in whole numbers
of 64 bits, so one seed gives one fate, compiled or interpreted.
"""

import statistics
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.hot.jit import INTERPRETED, address_of, compiled, make_table
from harness.media.hot.native import memcpy
from harness.media.hot.tables import bundle

# A ratio is the threshold that a draw of 32 bits must stay under.
ALWAYS = 1 << 32
LOST = -1
# What IPv4 and UDP put before a datagram's payload; the bottleneck carries it, too.
HEADER_OCTETS = 28
NO_JITTER, UNIFORM, NORMAL = 0, 1, 2

IMPAIR = np.dtype(
    [
        # 0 = this direction of the call is left alone.
        ("active", "i8"),
        # --- what was asked for; written before the call begins
        ("loss", "i8"),
        # Gilbert-Elliott: to the bad state, back from it, and what is lost in either.
        ("is_bursty", "i8"),
        ("to_bad", "i8"),
        ("to_good", "i8"),
        ("loss_good", "i8"),
        ("loss_bad", "i8"),
        ("delay_ns", "i8"),
        ("jitter", "i8"),
        ("jitter_ns", "i8"),
        ("keep_order", "i8"),
        ("reorder", "i8"),
        ("reorder_ns", "i8"),
        ("duplicate", "i8"),
        # 0 = no bottleneck.
        ("bits_per_s", "i8"),
        ("queue_ns", "i8"),
        # --- state
        ("random", "i8"),
        ("report_random", "i8"),
        ("is_bad", "i8"),
        # When the bottleneck has sent what is queued, and when the last packet in order comes out.
        ("free_at_ns", "i8"),
        ("last_due_ns", "i8"),
        # --- of the packet just decided on. For compiled code only: on a numpy record `copy` is a method to Python.
        ("copy", "i8"),
        ("copy_delay_ns", "i8"),
        # --- counts, of RTP alone; `queue_lost` is part of `lost`
        ("packets", "i8"),
        ("lost", "i8"),
        ("queue_lost", "i8"),
        ("delayed", "i8"),
        ("duplicated", "i8"),
        ("reordered", "i8"),
    ]
)

# The normal distribution's quantiles at i / 1024 in 1/65536 of its deviation, ends cut at 3.3 deviations.
_QUANTILE_BITS = 10
_QUANTILE_COUNT = 1 << _QUANTILE_BITS
_REST_BITS = 32 - _QUANTILE_BITS
_DEVIATION = 65536
_NORMAL = np.array(
    [
        round(_DEVIATION * statistics.NormalDist().inv_cdf(min(max(i, 0.5), _QUANTILE_COUNT - 0.5) / _QUANTILE_COUNT))
        for i in range(_QUANTILE_COUNT + 1)
    ],
    np.int64,
)


@compiled
def next_random(row: Any) -> int:
    """Return the row's next 32 random bits: xorshift (Marsaglia 2003), scrambled by a product that fits 63 bits."""
    x = row.random
    x ^= (x << 13) & 0xFFFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0xFFFFFFFF
    row.random = x
    return int(((x * 0x5BD1E995) >> 15) & 0xFFFFFFFF)


@compiled
def _happens(row: Any, threshold: int) -> bool:
    if threshold <= 0:
        return False
    return bool(next_random(row) < threshold)


@compiled
def _is_lost(row: Any) -> bool:
    if row.is_bursty:
        if _happens(row, row.to_good if row.is_bad else row.to_bad):
            row.is_bad = 1 - row.is_bad
        if _happens(row, row.loss_bad if row.is_bad else row.loss_good):
            return True
    return _happens(row, row.loss)


@compiled
def _queueing_ns(row: Any, now_ns: int, octets: int) -> int:
    """Return how long the bottleneck takes to send a packet that comes now, -1 when its queue is full."""
    begins_at_ns = max(row.free_at_ns, now_ns)
    if begins_at_ns - now_ns > row.queue_ns:
        return LOST
    row.free_at_ns = begins_at_ns + (octets + HEADER_OCTETS) * 8_000_000_000 // row.bits_per_s
    return int(row.free_at_ns - now_ns)


@compiled
def _path_ns(row: Any) -> int:
    """Return delay and jitter of one packet; jitter larger than the delay is cut at nothing."""
    if row.jitter == NO_JITTER:
        return int(row.delay_ns)
    drawn = next_random(row)
    if row.jitter == UNIFORM:
        deviation = ((2 * drawn - 0xFFFFFFFF) * (row.jitter_ns >> 10)) >> 22
    else:
        index = drawn >> _REST_BITS
        low = int(_NORMAL[index])
        step = ((int(_NORMAL[index + 1]) - low) * (drawn & ((1 << _REST_BITS) - 1))) >> _REST_BITS
        deviation = ((low + step) * row.jitter_ns) // _DEVIATION
    return int(max(0, row.delay_ns + deviation))


@compiled
def _out_of_order_ns(row: Any, due_ns: int) -> int:
    """Return when the packet comes out once order is kept, or broken, as the row asks."""
    if row.keep_order:
        due_ns = max(due_ns, row.last_due_ns)
    if _happens(row, row.reorder):
        row.reordered += 1
        return int(due_ns + row.reorder_ns)
    row.last_due_ns = max(due_ns, row.last_due_ns)
    return int(due_ns)


@compiled
def impair_decide(row: Any, now_ns: int, octets: int) -> int:
    """Return by how many ns a datagram of `octets` payload that passes now is late; -1 = it is lost.

    `row.copy` is 1 when it comes twice, the second time `row.copy_delay_ns` from now.
    """
    row.copy = 0
    row.packets += 1
    if _is_lost(row):
        row.lost += 1
        return LOST
    queueing_ns = 0
    if row.bits_per_s:
        queueing_ns = _queueing_ns(row, now_ns, octets)
        if queueing_ns == LOST:
            row.lost += 1
            row.queue_lost += 1
            return LOST
    passed_ns = now_ns + queueing_ns
    delay_ns = _out_of_order_ns(row, passed_ns + _path_ns(row)) - now_ns
    if _happens(row, row.duplicate):
        row.copy = 1
        row.copy_delay_ns = queueing_ns + _path_ns(row)
        row.duplicated += 1
    if delay_ns > 0:
        row.delayed += 1
    return delay_ns


@compiled
def impair_report(row: Any, now_ns: int, octets: int) -> int:
    """Return by how many ns an RTCP datagram that passes now is late; -1 = it is lost. It never comes twice.

    It meets the same network by draws of its own: what becomes of RTP must not hang on when reports happen to come.
    """
    row.copy = 0
    random, is_bad = row.random, row.is_bad
    row.random = row.report_random
    is_lost = _is_lost(row)
    path_ns = _path_ns(row)
    row.report_random, row.random, row.is_bad = row.random, random, is_bad
    queueing_ns = _queueing_ns(row, now_ns, octets) if row.bits_per_s and not is_lost else 0
    return LOST if is_lost or queueing_ns == LOST else queueing_ns + path_ns


# --- The delay line: packets of all calls on their way, first due first.

# Memory of slots never used stays untouched; interpreted, a slot is an object, and calls are few.
LINE_SLOTS = 8_192 if INTERPRETED else 65_536
LINE_SLOT_BYTES = 1536
# `line_next_due_ns` of an empty line.
NEVER_NS = 1 << 62
OUTGOING, INCOMING = 0, 1
_GONE = -1

SLOT = np.dtype(
    [
        ("due_ns", "i8"),
        # Packets due at one instant leave in the order they came.
        ("order", "i8"),
        # -1 once its call has ended.
        ("call", "i8"),
        ("direction", "i8"),
        # When it was sent or arrived, before the delay.
        ("at_ns", "i8"),
        ("length", "i8"),
    ]
)
LINE_STATE = np.dtype([("waiting", "i8"), ("free", "i8"), ("order", "i8"), ("next_due_ns", "i8"), ("full", "i8")])


@bundle
class DelayLine(NamedTuple):
    """Packets that are late on purpose: a row and its bytes for each, and a binary heap of their due times."""

    slots: Any
    data: npt.NDArray[np.uint8]
    # Memory address of `data`.
    address: int
    heap: npt.NDArray[np.int64]
    # A stack of the slots nobody uses.
    free: npt.NDArray[np.int64]
    # One row.
    state: Any


def new_delay_line(slots: int = LINE_SLOTS) -> DelayLine:
    """Return an empty line for at most `slots` packets of LINE_SLOT_BYTES at once."""
    data = np.zeros((slots, LINE_SLOT_BYTES), np.uint8)
    state = make_table(LINE_STATE, 1)
    state[0].free = slots
    state[0].next_due_ns = NEVER_NS
    free = np.arange(slots - 1, -1, -1, dtype=np.int64)
    return DelayLine(make_table(SLOT, slots), data, address_of(data), np.zeros(slots, np.int64), free, state)


@compiled
def _is_before(line: DelayLine, one: int, other: int) -> bool:
    a, b = line.slots[one], line.slots[other]
    return bool(a.due_ns < b.due_ns or (a.due_ns == b.due_ns and a.order < b.order))


@compiled
def _sift_up(line: DelayLine, slot: int) -> None:
    """Put `slot` where it belongs, from the end of the heap up."""
    position = line.state[0].waiting
    while position > 0:
        parent = (position - 1) >> 1
        if not _is_before(line, slot, line.heap[parent]):
            break
        line.heap[position] = line.heap[parent]
        position = parent
    line.heap[position] = slot


@compiled
def _sift_down(line: DelayLine) -> None:
    """Move the last of the heap to where it belongs, from the top down; `waiting` is already one less."""
    waiting = line.state[0].waiting
    slot = int(line.heap[waiting])
    position = 0
    while True:
        child = 2 * position + 1
        if child >= waiting:
            break
        if child + 1 < waiting and _is_before(line, line.heap[child + 1], line.heap[child]):
            child += 1
        if not _is_before(line, line.heap[child], slot):
            break
        line.heap[position] = line.heap[child]
        position = child
    line.heap[position] = slot


@compiled
def _note_next_due(line: DelayLine) -> None:
    state = line.state[0]
    state.next_due_ns = line.slots[line.heap[0]].due_ns if state.waiting else NEVER_NS


@compiled
def line_put(
    line: DelayLine, due_ns: int, call: int, direction: int, at_ns: int, source_address: int, length: int
) -> int:
    """Copy `length` bytes at memory `source_address` into the line, to come out at `due_ns`.

    Return 0, or 1 when the line is full or the packet is longer than a slot: it is then lost, and counted in `full`.
    """
    state = line.state[0]
    if state.free == 0 or length > LINE_SLOT_BYTES:
        state.full += 1
        return 1
    state.free -= 1
    slot = int(line.free[state.free])
    row = line.slots[slot]
    row.due_ns = due_ns
    row.order = state.order
    row.call = call
    row.direction = direction
    row.at_ns = at_ns
    row.length = length
    memcpy(line_address(line, slot), source_address, length)
    state.order += 1
    _sift_up(line, slot)
    state.waiting += 1
    _note_next_due(line)
    return 0


@compiled
def line_due(line: DelayLine, now_ns: int) -> int:
    """Take the first packet that is due out of the line and return its slot, -1 when there is none.

    The slot is the caller's until `line_free`; packets of calls that ended are passed over.
    """
    state = line.state[0]
    while state.next_due_ns <= now_ns:
        slot = int(line.heap[0])
        state.waiting -= 1
        _sift_down(line)
        _note_next_due(line)
        if line.slots[slot].call != _GONE:
            return slot
        line_free(line, slot)
    return -1


@compiled
def line_free(line: DelayLine, slot: int) -> None:
    """Give a slot back."""
    state = line.state[0]
    line.free[state.free] = slot
    state.free += 1


@compiled
def line_forget(line: DelayLine, call: int) -> None:
    """Let no packet of `call` come out any more: its row is about to belong to another."""
    for position in range(line.state[0].waiting):
        slot = line.heap[position]
        if line.slots[slot].call == call:
            line.slots[slot].call = _GONE


@compiled
def line_address(line: DelayLine, slot: int) -> int:
    """Return the memory address of a slot's bytes."""
    return line.address + slot * LINE_SLOT_BYTES


@compiled
def line_next_due_ns(line: DelayLine) -> int:
    """Return when the next packet is due, NEVER_NS when none waits."""
    return int(line.state[0].next_due_ns)
