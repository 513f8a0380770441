"""Which of the agent's Opus packets are decoded, and with which decoder state. Only what can decide something is.

 payload                          not awaited            awaited                      the agent is speaking
 <= 12 bytes: silence, DTX        silence, not decoded (but for two that code none, opus_state.py)
 larger                           4 of 32, for the floor every one                    a few samples and the end
                                                                                      (opus_spoken.py)

CELT codes each band's energy as the step from half of what it was a packet ago. A decoder that is out of step (packets
lost; packets not decoded; an agent that begins each answer with a new encoder) is therefore up to 27 dB off in the
first packet, half of that in the second. So when a packet soon behind silence, a pause or a loss is quiet, though
larger than silence needs, a second decoder that has heard nothing before takes it too: half-way up, it is off by less.
If it hears sound, the packet is in doubt; when both hear speech a few packets later, the onset was the first one in
doubt. Which of them is in step shows in the packets between: the error of the other one halves with each.
"""

from typing import Any

import numpy as np

from harness.media.hot.jit import compiled
from harness.media.hot.levels import highest
from harness.media.hot.native import OPUS_DECODER_BYTES
from harness.media.hot.onset import (
    SILENCE_DBFS,
    gate_dbfs,
    onset_hole,
    onset_learn,
    onset_packet,
    onset_voiced,
)
from harness.media.hot.opus_spoken import spoken_begin, spoken_packet, spoken_start
from harness.media.hot.opus_state import (
    BY_CELT,
    FRESH_DECODER,
    MOST_SILENCE_BYTES,
    RATE,
    copy_fresh,
    decoded_levels,
    hear_silence,
    opus_kind,
    quiet_windows,
    ready_decoder,
    state_start,
)

UNIT_SAMPLES = RATE // 400
_MOST_UNITS = 48
# While no answer is awaited, a burst of this many packets is decoded; its first ones bring the decoder into step.
_BURST, _BURST_EVERY, _BURST_UNLEARNT = 4, 32, 2
# Packets that a second decoder hears too, once the first may be out of step: by then that one is back to within 3 dB.
_SECOND_HEARS = 5
# Speech is never this loud; a decoder half-way up that is given the step from silence to noise is.
_OVERSHOOT_DBFS = -9.0

FIELDS: list[tuple[Any, ...]] = [
    ("by_size", "i8"),
    # The level at the end of the last packet, as each of the two decoders has it.
    ("first_dbfs", "f8"),
    ("second_dbfs", "f8"),
    # Packets since no answer is awaited.
    ("idle", "i8"),
]


@compiled
def opus_start(ear: Any, by_size: int, memory: int) -> None:
    """Begin a stream; `memory` is the address of OPUS_MEMORY_BYTES.

    `by_size`: judge by payload size alone, decode nothing.
    """
    state_start(ear, memory)
    spoken_start(ear, memory + 2 * OPUS_DECODER_BYTES)
    ear.by_size = by_size
    ear.idle = 0


@compiled
def opus_units(payload: Any, offset: int, length: int) -> int:
    """Return how many units of 2.5 ms a packet lasts by its first bytes (RFC 6716 3.1); 0 for a malformed one."""
    toc = int(payload[offset])
    config = toc >> 3
    if config < 12:
        units = 4 if config & 3 == 0 else 8 * (config & 3)
    elif config < 16:
        units = 4 << (config & 1)
    else:
        units = 1 << (config & 3)
    code = toc & 3
    frames = 1
    if code == 3:
        frames = int(payload[offset + 1]) & 63 if length > 1 else 0
    elif code != 0:
        frames = 2
    units *= frames
    return units if units <= _MOST_UNITS else 0


@compiled
def opus_packet(
    ear: Any, payload: Any, offset: int, length: int, units: int, arrived_at_ns: int, first_at_ns: int, scratch: Any
) -> int:
    """Take one packet in order; return the onset that it makes sure of, 0 = none."""
    # Signed: numba turns the sum of both kinds into a float.
    address = int(np.int64(payload.ctypes.data)) + offset
    if ear.by_size:
        return _sized(ear, length, units, arrived_at_ns, first_at_ns)
    kind = opus_kind(payload, offset, length)
    if ear.is_speaking:
        spoken_packet(ear, address, length, units, kind, arrived_at_ns, scratch)
        return 0
    if kind < BY_CELT:
        hear_silence(ear, address, length, units, kind, scratch)
        return 0
    if not ear.awaited:
        _idle(ear, address, length, units, kind, scratch)
        return 0
    return _listen(ear, address, length, kind, arrived_at_ns, first_at_ns, scratch)


@compiled
def _sized(ear: Any, length: int, units: int, arrived_at_ns: int, first_at_ns: int) -> int:
    windows = quiet_windows(ear, units)
    onset_at_ns = 0
    for i in range(windows):
        if length <= MOST_SILENCE_BYTES:
            onset_hole(ear)
            continue
        at_ns = first_at_ns if i == 0 else arrived_at_ns
        onset_at_ns = max(onset_at_ns, onset_voiced(ear, at_ns, arrived_at_ns))
    return onset_at_ns


@compiled
def _listen(ear: Any, payload: int, length: int, kind: int, arrived_at_ns: int, first_at_ns: int, scratch: Any) -> int:
    """Decode a packet that may begin an answer."""
    is_fresh = ready_decoder(ear, kind, scratch)
    windows = decoded_levels(ear, ear.decoder, payload, length, RATE, scratch.levels, scratch)
    if windows < 0:
        return 0
    ear.decoded += 1
    doubted_dbfs = SILENCE_DBFS
    is_first = ear.doubted_at_ns == 0 or ear.is_out_of_step != 0
    if ear.is_out_of_step and ear.doubted_at_ns == 0:
        # A second one that has heard nothing has nothing else to say.
        ear.second_left = 0 if is_fresh else _SECOND_HEARS
        ear.is_second_new = 1
    ear.is_out_of_step = 0
    if ear.second_left > 0 and ear.candidate == 0 and windows > 0:
        doubted_dbfs = _second_opinion(ear, payload, length, kind, windows, is_first, scratch)
        if doubted_dbfs > SILENCE_DBFS and scratch.other_levels[0] <= gate_dbfs(ear):
            # It began within this packet, if at all.
            first_at_ns = arrived_at_ns
    onset_at_ns = onset_packet(ear, scratch.levels, windows, arrived_at_ns, first_at_ns, doubted_dbfs)
    if onset_at_ns != 0:
        spoken_begin(ear, arrived_at_ns)
    return onset_at_ns


@compiled
def _second_opinion(
    ear: Any, payload: int, length: int, kind: int, windows: int, is_first: bool, scratch: Any
) -> float:
    """Return the level that a quiet packet may have in truth, SILENCE_DBFS where there is no doubt.

    In a voiced one behind doubted ones, let the second decoder speak.
    """
    gate = gate_dbfs(ear)
    top = highest(scratch.levels, windows)
    is_in_doubt = ear.doubted_at_ns != 0
    if top > gate and not is_in_doubt:
        ear.second_left = 0
        return SILENCE_DBFS
    ear.second_left -= 1
    second_top = SILENCE_DBFS
    if ear.is_second_new:
        ear.is_second_new = 0
        copy_fresh(ear.backup, FRESH_DECODER, kind, scratch)
    other = scratch.other_levels
    if decoded_levels(ear, ear.backup, payload, length, RATE, other, scratch) == windows:
        second_top = highest(other, windows)
    is_steadier = _is_steadier(ear, windows, scratch) or is_first
    is_plausible = gate < second_top < _OVERSHOOT_DBFS and is_steadier
    if is_in_doubt:
        is_plausible = is_plausible and other[0] > gate
    if top > gate:
        _let_the_second_speak(ear, is_plausible, windows, scratch)
        return SILENCE_DBFS
    if second_top >= _OVERSHOOT_DBFS or (is_in_doubt and not is_plausible):
        ear.second_left = 0
    return second_top if is_plausible else SILENCE_DBFS


@compiled
def _is_steadier(ear: Any, windows: int, scratch: Any) -> bool:
    """Tell whether the second decoder's level moved less where the last packet joins this: no error halves there."""
    at = max(0, windows - 2)
    first = abs(_mean(scratch.levels, 0, windows) - ear.first_dbfs)
    second = abs(_mean(scratch.other_levels, 0, windows) - ear.second_dbfs)
    ear.first_dbfs = _mean(scratch.levels, at, windows)
    ear.second_dbfs = _mean(scratch.other_levels, at, windows)
    return bool(second <= first)


@compiled
def _mean(levels: Any, start: int, end: int) -> float:
    """Return the mean of at most two windows."""
    until = min(start + 2, end)
    total = 0.0
    for i in range(start, until):
        total += levels[i]
    return total / (until - start)


@compiled
def _let_the_second_speak(ear: Any, is_plausible: bool, windows: int, scratch: Any) -> None:
    ear.second_left = 0
    if not is_plausible:
        ear.doubted_at_ns = 0
        return
    ear.decoder, ear.backup = ear.backup, ear.decoder
    for i in range(windows):
        scratch.levels[i] = scratch.other_levels[i]


@compiled
def _idle(ear: Any, payload: int, length: int, units: int, kind: int, scratch: Any) -> None:
    """Learn the background from bursts, while no answer is awaited; what is not decoded counts like the last window."""
    place = ear.idle % _BURST_EVERY
    ear.idle += 1
    windows = quiet_windows(ear, units)
    ear.is_out_of_step = 1
    if place < _BURST:
        ready_decoder(ear, kind, scratch)
        heard = decoded_levels(ear, ear.decoder, payload, length, RATE, scratch.levels, scratch)
        ear.decoded += 1
        if place >= _BURST_UNLEARNT:
            for i in range(heard):
                onset_learn(ear, scratch.levels[i])
            return
    else:
        ear.skipped += 1
    level = ear.recent[(ear.learnt - 1) % len(ear.recent)]
    for _ in range(windows):
        onset_learn(ear, level)
