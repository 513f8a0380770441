"""Which of the agent's Opus packets are decoded, and with which decoder state. Only what can decide something is.

 payload                          not awaited            awaited                      the agent is speaking
 <= 12 bytes: silence, DTX        silence, not decoded (but for the first two behind a larger one, which
                                  bring the decoder to the state that the encoder has)
 larger                           4 of 32, for the floor every one                    every 4th; the others are kept

While the agent speaks, a decoded packet that is not plainly voiced sends the decoder back to where it left off, the
kept packets are decoded in order, and so are the next ones until one is voiced again: the end of speech is exact.

CELT codes each band's energy as the step from half of what it was a packet ago. A decoder that is out of step (packets
lost; packets not decoded; an agent that begins each answer with a new encoder) is therefore up to 27 dB off in the
first packet, half of that in the second. So when a packet soon behind silence, a pause or a loss is quiet, though
larger than silence needs, a second decoder that has heard nothing before takes it too: half-way up, it is off by less.
If it hears sound, the packet is in doubt; when both hear speech a few packets later, the onset was the first one in
doubt. Which of them is in step shows in the packets between: the error of the other one halves with each.
"""

from typing import Any

from harness.media.hot.jit import compiled
from harness.media.hot.levels import highest, window_levels
from harness.media.hot.native import opus_decode, opus_decoder_init
from harness.media.hot.onset import (
    FLOOR_LEARNING_MS,
    SILENCE_DBFS,
    WINDOW_MS,
    gate_dbfs,
    onset_hole,
    onset_learn,
    onset_packet,
    onset_silence,
    onset_voiced,
)

# Digital silence takes 3 bytes, DTX 1 or 2; speech at 16 kbit/s and more takes 40 upward.
MOST_SILENCE_BYTES = 12
RATE = 48_000
# An Opus packet holds at most 120 ms (RFC 6716 3.2.5).
MOST_SAMPLES = RATE * 120 // 1000
_SAMPLES_PER_MS = RATE // 1000
# Frame lengths and everything made of them are counted in units of 2.5 ms.
UNIT_SAMPLES = RATE // 400
_UNITS_PER_WINDOW = 2
_MOST_UNITS = 48
_MOST_KEPT = 3
# A decoder that has heard nothing is up to this much too loud.
_PLAIN_DB = 6.0
_KEPT_BYTES = 512
# Silence packets after which the decoder's state changes no more.
_SETTLED = 2
# While no answer is awaited, a burst of this many packets is decoded; its first ones bring the decoder into step.
_BURST, _BURST_EVERY, _BURST_UNLEARNT = 4, 32, 2
# Packets that a second decoder hears too, once the first may be out of step: by then that one is back to within 3 dB.
_SECOND_HEARS = 5
# Speech is never this loud; a decoder half-way up that is given the step from silence to noise is.
_OVERSHOOT_DBFS = -9.0

FIELDS: list[tuple[Any, ...]] = [
    # Addresses of two decoder states of OPUS_DECODER_BYTES.
    ("decoder", "i8"),
    ("backup", "i8"),
    ("by_size", "i8"),
    # The decoder may not be where the encoder was.
    ("is_out_of_step", "i8"),
    # Packets that the second decoder, whose state is in `backup`, is yet to hear.
    ("second_left", "i8"),
    # The level at the end of the last packet, as each of the two decoders has it.
    ("first_dbfs", "f8"),
    ("second_dbfs", "f8"),
    # Silence-sized packets since the last larger one.
    ("settled", "i8"),
    # Units of silence that do not fill a window yet.
    ("quiet_units", "i8"),
    # Every packet is decoded, since the last one was quiet.
    ("is_dense", "i8"),
    # Packets since no answer is awaited.
    ("idle", "i8"),
    ("kept", "i8"),
    ("kept_lengths", "i8", (_MOST_KEPT,)),
    ("kept_at_ns", "i8", (_MOST_KEPT,)),
    ("kept_bytes", "u1", (_MOST_KEPT, _KEPT_BYTES)),
    # Full-size packets, decoded and not; and packets that libopus refused.
    ("decoded", "i8"),
    ("skipped", "i8"),
    ("undecodable", "i8"),
]


@compiled
def opus_start(ear: Any, by_size: int, decoder: int, backup: int) -> None:
    """Begin a stream; `by_size`: judge by payload size alone, decode nothing."""
    ear.decoder = decoder
    ear.backup = backup
    ear.by_size = by_size
    ear.is_out_of_step = 0
    ear.second_left = 0
    ear.settled = 0
    ear.quiet_units = 0
    ear.is_dense = 0
    ear.idle = 0
    ear.kept = 0
    ear.decoded = 0
    ear.skipped = 0
    ear.undecodable = 0
    if by_size != 0:
        # Sizes have no background to be learnt.
        ear.learnt = FLOOR_LEARNING_MS // WINDOW_MS
    if decoder != 0:
        opus_decoder_init(decoder, RATE, 1)


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
    if length <= MOST_SILENCE_BYTES:
        _silence(ear, payload, offset, length, units, scratch)
        return 0
    ear.settled = 0
    if ear.by_size:
        return _sized(ear, units, arrived_at_ns, first_at_ns)
    if ear.is_speaking:
        _speaking(ear, payload, offset, length, arrived_at_ns, scratch)
        return 0
    if not ear.awaited:
        _idle(ear, payload, offset, length, units, scratch)
        return 0
    _copy(payload, offset, length, scratch)
    return _listen(ear, length, arrived_at_ns, first_at_ns, scratch)


@compiled
def _windows(ear: Any, units: int) -> int:
    whole = ear.quiet_units + units
    ear.quiet_units = whole % _UNITS_PER_WINDOW
    return int(whole // _UNITS_PER_WINDOW)


@compiled
def _silence(ear: Any, payload: Any, offset: int, length: int, units: int, scratch: Any) -> None:
    windows = _windows(ear, units)
    if ear.by_size:
        for _ in range(windows):
            onset_hole(ear)
        return
    if ear.kept > 0:
        opus_catch_up(ear, scratch)
    if ear.settled < _SETTLED:
        ear.settled += 1
        _copy(payload, offset, length, scratch)
        opus_decode(ear.decoder, scratch.addresses[0], length, scratch.addresses[1], MOST_SAMPLES, 0)
    ear.is_dense = 1
    ear.second_left = 0
    # An agent may have a new encoder for what it says next.
    ear.is_out_of_step = 1
    onset_silence(ear, SILENCE_DBFS, windows)


@compiled
def _sized(ear: Any, units: int, arrived_at_ns: int, first_at_ns: int) -> int:
    onset_at_ns = 0
    for i in range(_windows(ear, units)):
        at_ns = first_at_ns if i == 0 else arrived_at_ns
        onset_at_ns = max(onset_at_ns, onset_voiced(ear, at_ns, arrived_at_ns))
    return onset_at_ns


@compiled
def _copy(payload: Any, offset: int, length: int, scratch: Any) -> None:
    for i in range(length):
        scratch.packet[i] = payload[offset + i]


@compiled
def _levels(ear: Any, decoder: int, length: int, levels: Any, scratch: Any) -> int:
    """Decode scratch.packet with the state at `decoder`; return the number of windows, -1 if it is no Opus."""
    count = opus_decode(decoder, scratch.addresses[0], length, scratch.addresses[1], MOST_SAMPLES, 0)
    if count < 0:
        ear.undecodable += 1
        ear.is_out_of_step = 1
        return -1
    return window_levels(ear, scratch.pcm, count, _SAMPLES_PER_MS, levels)


@compiled
def _listen(ear: Any, length: int, arrived_at_ns: int, first_at_ns: int, scratch: Any) -> int:
    """Decode a packet that may begin an answer."""
    windows = _levels(ear, ear.decoder, length, scratch.levels, scratch)
    if windows < 0:
        return 0
    ear.decoded += 1
    doubted_dbfs = SILENCE_DBFS
    is_first = ear.doubted_at_ns == 0 or ear.is_out_of_step != 0
    if ear.is_out_of_step and ear.doubted_at_ns == 0:
        opus_decoder_init(ear.backup, RATE, 1)
        ear.second_left = _SECOND_HEARS
    ear.is_out_of_step = 0
    if ear.second_left > 0 and ear.candidate == 0 and windows > 0:
        doubted_dbfs = _second_opinion(ear, length, windows, is_first, scratch)
        if doubted_dbfs > SILENCE_DBFS and scratch.other_levels[0] <= gate_dbfs(ear):
            # It began within this packet, if at all.
            first_at_ns = arrived_at_ns
    onset_at_ns = onset_packet(ear, scratch.levels, windows, arrived_at_ns, first_at_ns, doubted_dbfs)
    if onset_at_ns != 0:
        ear.kept = 0
        ear.is_dense = 0
    return onset_at_ns


@compiled
def _second_opinion(ear: Any, length: int, windows: int, is_first: bool, scratch: Any) -> float:
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
    if _levels(ear, ear.backup, length, scratch.other_levels, scratch) == windows:
        second_top = highest(scratch.other_levels, windows)
    is_steadier = _is_steadier(ear, windows, scratch) or is_first
    is_plausible = gate < second_top < _OVERSHOOT_DBFS and is_steadier
    if is_in_doubt:
        is_plausible = is_plausible and scratch.other_levels[0] > gate
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
def _speaking(ear: Any, payload: Any, offset: int, length: int, arrived_at_ns: int, scratch: Any) -> None:
    """Keep a packet of an agent that speaks on, or decode it."""
    if not ear.is_dense and ear.kept < _MOST_KEPT and length <= _KEPT_BYTES:
        for i in range(length):
            ear.kept_bytes[ear.kept, i] = payload[offset + i]
        ear.kept_lengths[ear.kept] = length
        ear.kept_at_ns[ear.kept] = arrived_at_ns
        ear.kept += 1
        return
    _copy(payload, offset, length, scratch)
    if ear.kept > 0:
        if _plainly_voiced(ear, length, arrived_at_ns, scratch):
            return
        opus_catch_up(ear, scratch)
        _copy(payload, offset, length, scratch)
    _decode_spoken(ear, length, arrived_at_ns, scratch)


@compiled
def _plainly_voiced(ear: Any, length: int, arrived_at_ns: int, scratch: Any) -> bool:
    """Decode past the kept packets, by a decoder that has heard nothing; if the result is beyond doubt, go on from it.

    The one that heard what was before would play that on: SILK repeats the last pitch period, however loud.
    """
    opus_decoder_init(ear.backup, RATE, 1)
    windows = _levels(ear, ear.backup, length, scratch.levels, scratch)
    if windows <= 0 or highest(scratch.levels, windows) <= gate_dbfs(ear) + _PLAIN_DB:
        return False
    ear.decoded += 1
    ear.skipped += ear.kept
    ear.kept = 0
    ear.decoder, ear.backup = ear.backup, ear.decoder
    onset_packet(ear, scratch.levels, windows, arrived_at_ns, arrived_at_ns, SILENCE_DBFS)
    return True


@compiled
def _decode_spoken(ear: Any, length: int, arrived_at_ns: int, scratch: Any) -> None:
    gate = gate_dbfs(ear)
    windows = _levels(ear, ear.decoder, length, scratch.levels, scratch)
    if windows < 0:
        return
    ear.decoded += 1
    ear.is_dense = 1 if highest(scratch.levels, windows) <= gate else 0
    onset_packet(ear, scratch.levels, windows, arrived_at_ns, arrived_at_ns, SILENCE_DBFS)


@compiled
def opus_catch_up(ear: Any, scratch: Any) -> None:
    """Decode the kept packets in order."""
    for k in range(ear.kept):
        length = ear.kept_lengths[k]
        for i in range(length):
            scratch.packet[i] = ear.kept_bytes[k, i]
        _decode_spoken(ear, length, ear.kept_at_ns[k], scratch)
    ear.kept = 0


@compiled
def _idle(ear: Any, payload: Any, offset: int, length: int, units: int, scratch: Any) -> None:
    """Learn the background from bursts, while no answer is awaited; what is not decoded counts like the last window."""
    place = ear.idle % _BURST_EVERY
    ear.idle += 1
    windows = _windows(ear, units)
    ear.is_out_of_step = 1
    if place < _BURST:
        _copy(payload, offset, length, scratch)
        heard = _levels(ear, ear.decoder, length, scratch.levels, scratch)
        ear.decoded += 1
        if place >= _BURST_UNLEARNT:
            for i in range(heard):
                onset_learn(ear, scratch.levels[i])
            return
    else:
        ear.skipped += 1
    if ear.learnt > 0:
        level = ear.recent[(ear.learnt - 1) % len(ear.recent)]
        for _ in range(windows):
            onset_learn(ear, level)
