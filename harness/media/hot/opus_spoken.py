"""Hearing an agent speak on: a packet now and then is decoded; the others are kept, to tell when it stopped.

 sample: a decoder that has heard nothing finds it plainly voiced --> what was kept before it matters no more
                                              anything else         --> decides nothing: speech has pauses
 nothing plainly voiced for quiet_ms --> the kept packets are decoded in order, behind the last plainly voiced one:
                                         the last voiced one is known exactly, and the agent has stopped there, or not

Of the packets that may be a sample the longest is taken: the others are more often the continuation of what was before,
of which a decoder that has heard nothing makes no sound. Samples are decoded at 16 kHz, for two thirds of the price:
what lies over 8 kHz makes no packet plainly voiced, the end is found at 48 kHz. Plainly voiced is what is well over the
gate, no ringing of what was louder, and no steady sound, which may be about to become background.

Where silence follows, the last packet before it is sampled first: when it is plainly voiced, all is known. Else the
decoding in order begins so early that a few packets a tick are enough.
"""

from typing import Any

from harness.media.hot.jit import compiled
from harness.media.hot.levels import forget_part, highest
from harness.media.hot.native import OPUS_DECODER_BYTES
from harness.media.hot.onset import (
    CLICK_DB,
    FLOOR_HISTORY_MS,
    PEAK_FALL_DB,
    SILENCE_DBFS,
    STEADY_DB,
    gate_dbfs,
    onset_learn,
    onset_packet,
    onset_pause,
    onset_silence,
)
from harness.media.hot.opus_kept import (
    KEPT_BYTES,
    PAUSE,
    drop_before,
    has_room,
    keep_none,
    keep_packet,
    kept_at_ns,
    kept_kind,
    kept_length,
    kept_payload,
    kept_units,
    largest_before,
    last_larger,
)
from harness.media.hot.opus_state import (
    BY_CELT,
    CODED_SILENCE,
    FRESH_DECODER,
    FRESH_SAMPLER,
    RATE,
    SAMPLE_RATE,
    SAMPLER,
    UNITS_PER_WINDOW,
    copy_fresh,
    decoded_levels,
    hear_silence,
    ready_decoder,
)

# Two decoder states, and the payloads kept.
OPUS_MEMORY_BYTES = 2 * OPUS_DECODER_BYTES + KEPT_BYTES
_NS_PER_MS = 1_000_000
_RAREST_SAMPLE_NS = 320 * _NS_PER_MS
# A sample is one of so many packets.
_CHOICE = 5
# A decoder that has heard nothing is up to this much too loud; so much may be missing of a peak, too.
_PLAIN_DB = 6.0
_PACKET_WINDOWS = 4
# Packets heard in order in one tick of 20 ms, and how much earlier each has the search for the end begin: meanwhile one
# more comes each tick.
_HEARD_A_TICK = 4
HEARING_NS = 20 * _NS_PER_MS // (_HEARD_A_TICK - 1)
# Behind a packet that came longer ago silence follows, or a pause.
_JUST_NOW_NS = 30 * _NS_PER_MS
# More packets unheard than this are heard two at a time.
_MOST_UNHEARD = 32
_MANY = 1 << 30

FIELDS: list[tuple[Any, ...]] = [
    ("next_sample_ns", "i8"),
    # A later sample was looked for in vain since the last one.
    ("is_searched", "i8"),
    # The extremes of the plainly voiced samples since a moment, which are within STEADY_DB.
    ("steady_low_dbfs", "f8"),
    ("steady_high_dbfs", "f8"),
    ("steady_since_ns", "i8"),
    # Full-size packets, decoded and not.
    ("decoded", "i8"),
    ("skipped", "i8"),
]


@compiled
def spoken_start(ear: Any, kept_memory: int) -> None:
    """Begin a stream; `kept_memory` is the address of KEPT_BYTES."""
    ear.kept_memory = kept_memory
    ear.is_searched = 0
    ear.decoded = 0
    ear.skipped = 0
    keep_none(ear)


@compiled
def spoken_begin(ear: Any, arrived_at_ns: int) -> None:
    """Go from hearing everything to samples: the packet that arrived then has made sure of an onset."""
    keep_none(ear)
    ear.is_searched = 0
    ear.next_sample_ns = arrived_at_ns + _sample_every_ns(ear)
    _forget_steady(ear, arrived_at_ns)


@compiled
def _sample_every_ns(ear: Any) -> int:
    return int(min(ear.quiet_ns * 3 // 4, _RAREST_SAMPLE_NS))


@compiled
def spoken_packet(ear: Any, payload: int, length: int, units: int, kind: int, arrived_at_ns: int, scratch: Any) -> None:
    """Keep a packet of an agent that speaks on, at the address `payload`; it may be time for a sample."""
    if ear.unheard > _MOST_UNHEARD:
        _hear(ear, 2, scratch)
    if not has_room(ear, length) and ear.heard > 0:
        drop_before(ear, ear.heard)
    if not has_room(ear, length):
        spoken_catch_up(ear, scratch)
    keep_packet(ear, payload, length, units, kind, arrived_at_ns)
    if kind < BY_CELT or arrived_at_ns < ear.next_sample_ns:
        return
    ear.next_sample_ns = arrived_at_ns + _sample_every_ns(ear) // 2
    _sample_among(ear, ear.kept - 1, scratch)


@compiled
def spoken_pause(ear: Any, duration_ms: int) -> None:
    """Keep in order that there was a pause in the RTP timestamps; there are kept packets."""
    keep_packet(ear, 0, 0, duration_ms, PAUSE, 0)


@compiled
def _sample_among(ear: Any, last: int, scratch: Any) -> bool:
    """Sample the longest of a few packets up to `last`, of those not heard or sampled yet; then the one behind it."""
    first = max(ear.heard, ear.is_behind, ear.sampled)
    if last < first:
        return False
    at = largest_before(ear, last, min(_CHOICE, last - first + 1))
    return _sample(ear, at, 2, scratch)


@compiled
def _sample(ear: Any, first: int, most: int, scratch: Any) -> bool:
    """Decode `most` kept packets from one on out of order, until one is plainly voiced; drop those before that one.

    By a decoder that has heard nothing: the one that heard what was before would play that on (SILK repeats the last
    pitch period, however loud).
    """
    copy_fresh(scratch.addresses[SAMPLER], FRESH_SAMPLER, kept_kind(ear, first), scratch)
    forget_part(ear)
    for at in range(first, min(first + most, ear.kept)):
        if kept_kind(ear, at) < BY_CELT:
            return False
        ear.sampled = at + 1
        if _is_plainly_voiced(ear, at, scratch):
            _go_on_behind(ear, at)
            return True
    return False


@compiled
def _is_plainly_voiced(ear: Any, at: int, scratch: Any) -> bool:
    """Tell what the sampler hears of a kept packet."""
    levels, payload, length = scratch.levels, kept_payload(ear, at), kept_length(ear, at)
    windows = decoded_levels(ear, scratch.addresses[SAMPLER], payload, length, SAMPLE_RATE, levels, scratch)
    if windows <= 0:
        return False
    top = highest(levels, windows)
    _learn_dip(ear, levels, windows)
    is_loud = top > gate_dbfs(ear) + _PLAIN_DB and top > ear.peak_dbfs - CLICK_DB + _PLAIN_DB
    if not is_loud or _is_steady(ear, levels, windows, kept_at_ns(ear, at)):
        return False
    ear.peak_dbfs = max(top, ear.peak_dbfs)
    return True


@compiled
def _go_on_behind(ear: Any, at: int) -> None:
    """Drop what was kept before a plainly voiced packet."""
    for i in range(max(ear.heard, ear.is_behind), at):
        _miss(ear, i)
    drop_before(ear, at)
    ear.heard = 0
    ear.unheard -= 1
    ear.is_behind = 1
    ear.sampled = 1
    ear.is_searched = 0
    ear.decoded += 1
    ear.last_voiced_at_ns = kept_at_ns(ear, 0)
    ear.next_sample_ns = ear.last_voiced_at_ns + _sample_every_ns(ear)


@compiled
def _learn_dip(ear: Any, levels: Any, windows: int) -> None:
    """Let a sample lower the floor, when it is far under it: what 16 kHz lack of a noise makes no floor."""
    level = levels[windows - 1] + _PLAIN_DB
    if windows >= _PACKET_WINDOWS and level < ear.floor_dbfs:
        for _ in range(_PACKET_WINDOWS):
            onset_learn(ear, level)


@compiled
def _is_steady(ear: Any, levels: Any, windows: int, arrived_at_ns: int) -> bool:
    """Tell whether the plainly voiced samples have been all alike for as long as the floor remembers."""
    # A decoder that has heard nothing fades in.
    for i in range(1, windows):
        ear.steady_low_dbfs = min(ear.steady_low_dbfs, levels[i])
        ear.steady_high_dbfs = max(ear.steady_high_dbfs, levels[i])
    if ear.steady_high_dbfs - ear.steady_low_dbfs > STEADY_DB:
        _forget_steady(ear, arrived_at_ns)
    return bool(arrived_at_ns - ear.steady_since_ns >= FLOOR_HISTORY_MS * _NS_PER_MS)


@compiled
def _forget_steady(ear: Any, arrived_at_ns: int) -> None:
    ear.steady_since_ns = arrived_at_ns
    ear.steady_low_dbfs = 0.0
    ear.steady_high_dbfs = SILENCE_DBFS


@compiled
def _miss(ear: Any, at: int) -> None:
    """Let a kept packet count that is not decoded."""
    kind, units = kept_kind(ear, at), kept_units(ear, at)
    if kind == PAUSE:
        onset_pause(ear, units, ear.pause_dbfs)
        return
    windows = units // UNITS_PER_WINDOW
    ear.peak_dbfs -= PEAK_FALL_DB * windows
    if kind < BY_CELT:
        onset_silence(ear, SILENCE_DBFS, windows)
    else:
        ear.skipped += 1


@compiled
def spoken_find_end(ear: Any, is_due: bool, now_ns: int, scratch: Any) -> None:
    """Find the last voiced packet among the kept ones, now, or else in this tick's share of the work."""
    if ear.unheard > 0 and not ear.is_searched:
        ear.is_searched = 1
        last = last_larger(ear)
        if now_ns - kept_at_ns(ear, last) > _JUST_NOW_NS and _sample(ear, last, 1, scratch):
            return
        if _sample_among(ear, last, scratch):
            return
    _hear(ear, _MANY if is_due else _HEARD_A_TICK, scratch)


@compiled
def spoken_catch_up(ear: Any, scratch: Any) -> None:
    """Decode the kept packets in order."""
    _hear(ear, _MANY, scratch)


@compiled
def _hear(ear: Any, most: int, scratch: Any) -> None:
    """Hear kept packets in order, of which at most `most` are decoded."""
    if ear.is_behind:
        _begin_behind(ear, scratch)
    left = most
    while ear.heard < ear.kept and left > 0:
        at = ear.heard
        ear.heard = at + 1
        if kept_kind(ear, at) >= BY_CELT:
            ear.unheard -= 1
            left -= 1
        _hear_kept(ear, at, scratch)
    if ear.heard == ear.kept:
        keep_none(ear)


@compiled
def _begin_behind(ear: Any, scratch: Any) -> None:
    """Bring the decoder to where the first kept packet, known to be voiced, leaves it."""
    forget_part(ear)
    ear.is_behind = 0
    ear.heard = 1
    if ear.kept > 1 and kept_kind(ear, 1) == CODED_SILENCE:
        # Nothing is left of it behind that.
        ear.is_rested = 1
        return
    ear.is_rested = 0
    ear.settled = 0
    copy_fresh(ear.decoder, FRESH_DECODER, kept_kind(ear, 0), scratch)
    decoded_levels(ear, ear.decoder, kept_payload(ear, 0), kept_length(ear, 0), RATE, scratch.levels, scratch)


@compiled
def _hear_kept(ear: Any, at: int, scratch: Any) -> None:
    payload, length, units, kind = kept_payload(ear, at), kept_length(ear, at), kept_units(ear, at), kept_kind(ear, at)
    if kind == PAUSE:
        onset_pause(ear, units, ear.pause_dbfs)
        return
    if kind < BY_CELT:
        hear_silence(ear, payload, length, units, kind, scratch)
        return
    ready_decoder(ear, kind, scratch)
    windows = decoded_levels(ear, ear.decoder, payload, length, RATE, scratch.levels, scratch)
    if windows < 0:
        return
    ear.decoded += 1
    arrived_at_ns = kept_at_ns(ear, at)
    onset_packet(ear, scratch.levels, windows, arrived_at_ns, arrived_at_ns, SILENCE_DBFS)
