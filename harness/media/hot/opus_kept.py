"""Packets of an agent that speaks on, kept in order until they are heard or matter no more."""

from typing import Any

from harness.media.hot.jit import compiled
from harness.media.hot.native import memcpy
from harness.media.hot.opus_state import BY_CELT

# A second of speech at 64 kbit/s; one packet is never more than a quarter of it.
MOST_KEPT, KEPT_BYTES = 64, 8192
# A kept pause in the RTP timestamps: a kind beside those of packets; its units are ms.
PAUSE = -1
# Words of one kept packet, which fill a cache line: where its payload starts and its length, ...
_WORDS = 8
_START, _LENGTH, _UNITS, _KIND, _AT_NS = 0, 1, 2, 3, 4

FIELDS: list[tuple[Any, ...]] = [
    # How many are kept; of these, how many the decoder has heard, from the first on; and larger ones it has not.
    ("kept", "i8"),
    ("heard", "i8"),
    ("unheard", "i8"),
    # How many, from the first on, are not to be sampled (again).
    ("sampled", "i8"),
    # The decoder has not heard what came before the first kept packet, which is plainly voiced.
    ("is_behind", "i8"),
    # Where the payloads are, and how many bytes of them.
    ("kept_memory", "i8"),
    ("kept_end", "i8"),
    ("kept_packets", "i8", (MOST_KEPT * _WORDS,)),
]


@compiled
def keep_none(ear: Any) -> None:
    """Let go of all."""
    ear.kept = 0
    ear.heard = 0
    ear.unheard = 0
    ear.sampled = 0
    ear.is_behind = 0
    ear.kept_end = 0


@compiled
def kept_payload(ear: Any, at: int) -> int:
    """Return the address of a kept payload."""
    return int(ear.kept_memory + ear.kept_packets[_WORDS * at + _START])


@compiled
def kept_length(ear: Any, at: int) -> int:
    """Return a kept payload's length in bytes."""
    return int(ear.kept_packets[_WORDS * at + _LENGTH])


@compiled
def kept_units(ear: Any, at: int) -> int:
    """Return how many units of 2.5 ms a kept packet lasts, or how many ms a pause does."""
    return int(ear.kept_packets[_WORDS * at + _UNITS])


@compiled
def kept_kind(ear: Any, at: int) -> int:
    """Return the kind of a kept packet."""
    return int(ear.kept_packets[_WORDS * at + _KIND])


@compiled
def kept_at_ns(ear: Any, at: int) -> int:
    """Return when a kept packet arrived."""
    return int(ear.kept_packets[_WORDS * at + _AT_NS])


@compiled
def has_room(ear: Any, length: int) -> bool:
    """Tell whether one more packet can be kept; one place stays free for a pause."""
    return bool(ear.kept < MOST_KEPT - 1 and ear.kept_end + length <= KEPT_BYTES)


@compiled
def keep_packet(ear: Any, payload: int, length: int, units: int, kind: int, arrived_at_ns: int) -> None:
    """Keep a packet, or a pause (of length 0), behind the others; there is room."""
    at = _WORDS * ear.kept
    ear.kept_packets[at + _START] = ear.kept_end
    ear.kept_packets[at + _LENGTH] = length
    ear.kept_packets[at + _UNITS] = units
    ear.kept_packets[at + _KIND] = kind
    ear.kept_packets[at + _AT_NS] = arrived_at_ns
    if length > 0:
        memcpy(ear.kept_memory + ear.kept_end, payload, length)
    ear.kept += 1
    ear.kept_end += length
    if kind >= BY_CELT:
        ear.unheard += 1


@compiled
def drop_before(ear: Any, at: int) -> None:
    """Let go of the packets before one."""
    start = ear.kept_packets[_WORDS * at + _START]
    memcpy(ear.kept_memory, ear.kept_memory + start, ear.kept_end - start)
    for word in range(_WORDS * at, _WORDS * ear.kept):
        ear.kept_packets[word - _WORDS * at] = ear.kept_packets[word]
    ear.kept -= at
    ear.kept_end -= start
    for i in range(ear.kept):
        ear.kept_packets[_WORDS * i + _START] -= start
    ear.heard = max(0, ear.heard - at)
    ear.sampled = max(0, ear.sampled - at)
    ear.unheard = 0
    for i in range(ear.heard, ear.kept):
        if kept_kind(ear, i) >= BY_CELT:
            ear.unheard += 1


@compiled
def last_larger(ear: Any) -> int:
    """Return the last kept packet that is larger than silence, -1 = none."""
    at = int(ear.kept) - 1
    while at >= 0 and kept_kind(ear, at) < BY_CELT:
        at -= 1
    return at


@compiled
def largest_before(ear: Any, last: int, count: int) -> int:
    """Return the longest of the last `count` kept packets up to `last`."""
    best = last
    for at in range(max(0, last - count + 1), last):
        if kept_length(ear, at) > kept_length(ear, best):
            best = at
    return best
