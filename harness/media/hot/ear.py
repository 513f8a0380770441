"""From a received payload to "the agent is audible": one call's ear.

    order and loss --> pause (DTX), comfort noise, silence --> silence
                   --> PCMU, PCMA, G.722: every packet     --> levels of 5 ms windows --> onset, stop (onset.py)
                   --> Opus: what can decide (opus_ear.py) -->

A packet that comes behind a later one is left out. A pause in the RTP timestamps is silence; a lost packet is neither
voiced nor silent. Where the packet with the onset itself was lost, the onset is the next one's arrival; of several lost
on end it can have been any, so it is dated to the middle of them: half their number of packets off at most, rounded up.

Times are monotonic ns, levels dBFS; 0 = nothing happened.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.codecs import OPUS, PCMA, PCMU
from harness.media.hot import levels, onset, opus_ear, opus_kept, opus_spoken, opus_state
from harness.media.hot.g711 import ALAW_SQUARES, ULAW_SQUARES
from harness.media.hot.g722 import G722_STATE, g722_decode
from harness.media.hot.jit import LINE_BYTES, address_of, compiled, whole_lines
from harness.media.hot.levels import LINEAR, forget_part, window_levels
from harness.media.hot.native import OPUS_DECODER_BYTES
from harness.media.hot.onset import (
    SILENCE_DBFS,
    WINDOW_MS,
    gate_dbfs,
    onset_anew,
    onset_forget,
    onset_gap,
    onset_learn,
    onset_packet,
    onset_pause,
    onset_poll,
    onset_silence,
    onset_start,
)
from harness.media.hot.opus_ear import UNIT_SAMPLES, opus_packet, opus_start, opus_units
from harness.media.hot.opus_spoken import HEARING_NS, spoken_catch_up, spoken_find_end, spoken_pause
from harness.media.hot.opus_state import MOST_SAMPLES, STATES, make_states
from harness.media.hot.tables import bundle

# RFC 3550 A.1: a jump this far is a source that began again.
_MOST_DROPPED = 3000
_MOST_MISORDERED = 100
# An outage longer than this tells nothing about when the agent began.
_MOST_GUESSED = 10
_PACKET_MS = 20
_NS_PER_MS = 1_000_000
_MOST_PACKET_BYTES = 2048
_OPUS, _PCMU, _PCMA = OPUS.index, PCMU.index, PCMA.index
_OPUS_TICKS_PER_MS, _OTHER_TICKS_PER_MS = 48, 8

_FIELDS: list[tuple[Any, ...]] = [
    *onset.FIELDS,
    *levels.FIELDS,
    *opus_spoken.FIELDS,
    *opus_state.FIELDS,
    *opus_kept.FIELDS,
    *opus_ear.FIELDS,
    # The G.722 decoder's state.
    *G722_STATE.descr,
    ("codec", "i8"),
    # An answer is awaited: onsets are looked for.
    ("awaited", "i8"),
    # The last packet: whether there was one, its place, its length in RTP ticks and its arrival.
    ("has_heard", "i8"),
    ("last_extended", "i8"),
    ("last_timestamp", "i8"),
    ("last_ticks", "i8"),
    ("last_arrived_at_ns", "i8"),
    # What a pause sounds like: silence, or the level of the last comfort noise packet.
    ("pause_dbfs", "f8"),
]
# What nearly every packet touches, each string the names of one cache line: order, and what tells silence from speech;
# the floor, which silence counts towards; what is heard of telephone codecs; what is kept while the agent speaks on.
_LINES = (
    "is_speaking codec by_size has_heard last_extended last_timestamp last_ticks last_arrived_at_ns",
    "is_out_of_step is_rested quiet_units second_left candidate doubted_at_ns last_voiced_at_ns quiet_ns",
    "learnt floor_count floor_dbfs floor_serial recent",
    "awaited peak_dbfs faint_ms hole_ms voiced_ms part_power part_samples floor_first",
    "kept heard unheard sampled is_behind kept_memory kept_end next_sample_ns",
)
# Then the kept packets, a line each.
_HOT = [*" ".join(_LINES).split(), "kept_packets"]


def _ear_row() -> np.dtype[Any]:
    """Return the row: what is touched often, then the rest, then the large arrays."""
    by_name = {field[0]: field for field in _FIELDS}
    cold = sorted((by_name[name] for name in by_name.keys() - set(_HOT)), key=lambda field: (len(field), field))
    fields = [*[by_name[name] for name in _HOT], *cold]
    if whole_lines(np.dtype(fields)).itemsize // LINE_BYTES % 2 == 0:
        # An odd number of lines, lest the rows' first ones compete for a few places of the processor's caches.
        fields.append(("spare", "i8", (LINE_BYTES // 8,)))
    return whole_lines(np.dtype(fields))


EAR = _ear_row()
EAR_BYTES = EAR.itemsize
EAR_LINES = len(_LINES)


@bundle
class EarScratch(NamedTuple):
    """Buffers of one media loop; nothing in them outlives a call of ear_packet or ear_poll."""

    pcm: npt.NDArray[np.int16]
    levels: npt.NDArray[np.float64]
    other_levels: npt.NDArray[np.float64]
    # States of libopus: the decoder of samples, and what is copied (opus_state.py).
    states: npt.NDArray[np.uint8]
    # Of `pcm` and of those states.
    addresses: npt.NDArray[np.int64]


def make_ear_scratch() -> EarScratch:
    """Return the buffers that every ear of a loop shares."""
    pcm = np.zeros(MOST_SAMPLES, np.int16)
    states = np.zeros((STATES, OPUS_DECODER_BYTES), np.uint8)
    addresses = np.array([address_of(pcm), *[address_of(state) for state in states]], np.int64)
    make_states(addresses)
    return EarScratch(pcm, np.zeros(64), np.zeros(64), states, addresses)


@compiled
def ear_start(ear: Any, codec: int, quiet_ns: int, by_size: int, memory: int) -> None:
    """Begin a call: `codec` is an index of CODECS, `memory` the address of OPUS_MEMORY_BYTES, 0 where none is decoded.

    `by_size` (Opus only): a packet of more than 12 bytes is voiced, the others are silent; nothing is decoded.
    """
    onset_start(ear, quiet_ns)
    _start_stream(ear, codec, by_size, memory)
    ear.awaited = 1


@compiled
def ear_anew(ear: Any, codec: int, by_size: int, memory: int) -> None:
    """Forget what was heard but for the background; the next speech is an onset even if no pause is before it."""
    onset_anew(ear)
    _start_stream(ear, codec, by_size, memory)


@compiled
def ear_change(ear: Any, codec: int, by_size: int, memory: int) -> None:
    """Go on in another codec: who is speaking is speaking on, until told to have stopped."""
    onset_forget(ear)
    _start_stream(ear, codec, by_size, memory)


@compiled
def _start_stream(ear: Any, codec: int, by_size: int, memory: int) -> None:
    opus_start(ear, by_size, memory)
    forget_part(ear)
    ear.low[:] = 0
    ear.high[:] = 0
    ear.line[:] = 0
    ear.position = 0
    ear.codec = codec
    ear.has_heard = 0
    ear.pause_dbfs = SILENCE_DBFS


@compiled
def ear_await(ear: Any, on: int) -> None:
    """Look for onsets from now on, or no more; the end of speech under way is still found."""
    if ear.awaited and not on:
        onset_forget(ear)
        ear.second_left = 0
    ear.awaited = on


@compiled
def ear_poll(ear: Any, now_ns: int, scratch: Any) -> int:
    """Return when the agent stopped once it has been quiet for long enough, 0 = not (again)."""
    # Nearly every call's answer, each tick, from one cache line.
    if not ear.is_speaking or now_ns - ear.last_voiced_at_ns + ear.unheard * HEARING_NS < ear.quiet_ns:
        return 0
    if now_ns - ear.last_voiced_at_ns < ear.quiet_ns:
        spoken_find_end(ear, False, now_ns, scratch)
    while ear.kept > 0 and now_ns - ear.last_voiced_at_ns >= ear.quiet_ns:
        spoken_find_end(ear, True, now_ns, scratch)
    return onset_poll(ear, now_ns)


@compiled
def ear_packet(
    ear: Any,
    payload: Any,
    offset: int,
    length: int,
    payload_type_is_cn: int,
    extended: int,
    timestamp: int,
    arrived_at_ns: int,
    scratch: Any,
) -> int:
    """Take `length` bytes of payload[offset:]; return the onset they make sure of (`ear.decided_at_ns`: when), or 0.

    `extended` is the extended sequence number, `timestamp` the RTP one.
    """
    if length <= 0 or length > _MOST_PACKET_BYTES:
        return 0
    ticks_per_ms = _OPUS_TICKS_PER_MS if ear.codec == _OPUS else _OTHER_TICKS_PER_MS
    lost = _place(ear, extended, timestamp, ticks_per_ms)
    if lost < 0:
        return 0
    if lost > 0:
        onset_gap(ear)
    first_at_ns = arrived_at_ns
    if 1 < lost <= _MOST_GUESSED:
        back_ns = lost // 2 * (ear.last_ticks // ticks_per_ms) * _NS_PER_MS
        first_at_ns = max(arrived_at_ns - back_ns, ear.last_arrived_at_ns)
    ear.has_heard = 1
    ear.last_extended = extended
    ear.last_timestamp = timestamp
    ear.last_arrived_at_ns = arrived_at_ns
    if payload_type_is_cn:
        ear.last_ticks = _PACKET_MS * ticks_per_ms
        _comfort_noise(ear, int(payload[offset]), scratch)
        return 0
    if ear.codec == _OPUS:
        units = opus_units(payload, offset, length)
        ear.last_ticks = units * UNIT_SAMPLES
        return opus_packet(ear, payload, offset, length, units, arrived_at_ns, first_at_ns, scratch)
    # G.722 too counts 8 ticks, and a byte, for each of its 16 samples a ms (RFC 3551 4.5.2).
    ear.last_ticks = length
    return _telephone(ear, payload, offset, length, arrived_at_ns, first_at_ns, scratch)


@compiled
def ear_skip(ear: Any, extended: int) -> None:
    """Pass over a packet without audio: to the ear, a pause in the RTP timestamps."""
    if ear.has_heard and 0 < extended - ear.last_extended <= _MOST_DROPPED:
        ear.last_extended = extended


@compiled
def _place(ear: Any, extended: int, timestamp: int, ticks_per_ms: int) -> int:
    """Return how many packets were lost before this one, -1 for one that comes too late; a pause is noted."""
    if not ear.has_heard:
        return 0
    step = extended - ear.last_extended
    if step < -_MOST_MISORDERED or step > _MOST_DROPPED:
        ear.is_out_of_step = 1
        forget_part(ear)
        return 0
    if step <= 0:
        return -1
    delta = ((timestamp - ear.last_timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    pause = delta - step * ear.last_ticks
    if pause > _PACKET_MS * ticks_per_ms:
        if ear.kept > 0:
            spoken_pause(ear, pause // ticks_per_ms)
        else:
            onset_pause(ear, pause // ticks_per_ms, ear.pause_dbfs)
    elif step == 1:
        return 0
    ear.is_out_of_step = 1
    forget_part(ear)
    return int(step - 1)


@compiled
def _comfort_noise(ear: Any, first_byte: int, scratch: Any) -> None:
    """Take an RFC 3389 packet as silence of its level, which is also what the pause behind it sounds like."""
    if ear.kept > 0:
        spoken_catch_up(ear, scratch)
    ear.pause_dbfs = max(SILENCE_DBFS, -float(first_byte & 0x7F))
    ear.is_out_of_step = 1
    forget_part(ear)
    onset_silence(ear, ear.pause_dbfs, _PACKET_MS // WINDOW_MS)


@compiled
def _telephone(
    ear: Any, payload: Any, offset: int, length: int, arrived_at_ns: int, first_at_ns: int, scratch: Any
) -> int:
    """Take a packet of PCMU, PCMA or G.722: every one is heard, they cost next to nothing."""
    levels, samples_per_ms = scratch.levels, 8
    if ear.codec == _PCMU:
        windows = window_levels(ear, payload, offset, length, samples_per_ms, ULAW_SQUARES, levels)
    elif ear.codec == _PCMA:
        windows = window_levels(ear, payload, offset, length, samples_per_ms, ALAW_SQUARES, levels)
    else:
        samples_per_ms = 16
        count = g722_decode(ear, payload, offset, length, scratch.pcm)
        windows = window_levels(ear, scratch.pcm, 0, count, samples_per_ms, LINEAR, levels)
    if ear.awaited or ear.is_speaking:
        if windows > 0 and samples_per_ms == 8 and levels[0] <= gate_dbfs(ear):
            # G.711 is never out of step: speech that begins within a packet was in no lost one.
            first_at_ns = arrived_at_ns
        return onset_packet(ear, levels, windows, arrived_at_ns, first_at_ns, SILENCE_DBFS)
    for i in range(windows):
        onset_learn(ear, levels[i])
    return 0
