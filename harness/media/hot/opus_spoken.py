"""Hearing an agent speak on: a packet now and then is decoded; the others are kept, to tell when it stopped.

 sample: a decoder that has heard nothing finds it plainly voiced --> what was kept before it matters no more
                                              anything else         --> decides nothing: speech has pauses
 nothing plainly voiced for quiet_ms --> the kept packets are decoded in order, behind the last plainly voiced one:
                                         the last voiced one is known exactly, and the agent has stopped there, or not

Samples come so often that several fall within quiet_ms. They are decoded at 16 kHz, for two thirds of the price: what
lies over 8 kHz makes no packet plainly voiced, the end is found at 48 kHz. Plainly voiced is what is well over the
gate, no ringing of what was louder, and no steady sound, which may be about to become background.
"""

from typing import Any

from harness.media.hot.jit import compiled
from harness.media.hot.levels import forget_part, highest, window_levels
from harness.media.hot.native import OPUS_DECODER_BYTES, memcpy, opus_decode, opus_decoder_init
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

# Digital silence takes 3 bytes, DTX 1 or 2; speech at 16 kbit/s and more takes 40 upward.
MOST_SILENCE_BYTES = 12
RATE = 48_000
# An Opus packet holds at most 120 ms (RFC 6716 3.2.5).
MOST_SAMPLES = RATE * 120 // 1000
# Frame lengths and everything made of them are counted in units of 2.5 ms.
UNITS_PER_WINDOW = 2
_SAMPLES_PER_MS = RATE // 1000
_SAMPLE_RATE = 16_000
# Silence packets after which the decoder's state changes no more.
_SETTLED = 2
# Indices of EarScratch.addresses: room for samples, and states of decoders that have heard nothing, to be copied. A new
# state costs as much as a packet: libopus asks the processor for its features, which traps in virtual machines.
PCM, FRESH_DECODER, FRESH_SAMPLER = 0, 1, 2
# A second of speech at 64 kbit/s; one packet is never more than a quarter of it.
_MOST_KEPT, _KEPT_BYTES = 64, 8192
_NS_PER_MS = 1_000_000
_RAREST_SAMPLE_NS = 320 * _NS_PER_MS
# A decoder that has heard nothing is up to this much too loud; so much may be missing of a peak, too.
_PLAIN_DB = 6.0
# Where, from the last full-size packet back, the packets to decode may begin.
_SHORT_LEAP, _LONG_LEAP = 3, 8
_PACKET_WINDOWS = 4
# Two decoder states, and the payloads kept.
OPUS_MEMORY_BYTES = 2 * OPUS_DECODER_BYTES + _KEPT_BYTES

FIELDS: list[tuple[Any, ...]] = [
    # Addresses of two decoder states of OPUS_DECODER_BYTES.
    ("decoder", "i8"),
    ("backup", "i8"),
    # The decoder may not be where the encoder was.
    ("is_out_of_step", "i8"),
    # Packets that the second decoder, whose state is in `backup`, is yet to hear.
    ("second_left", "i8"),
    # Silence-sized packets since the last larger one.
    ("settled", "i8"),
    # Units of silence that do not fill a window yet.
    ("quiet_units", "i8"),
    ("next_sample_ns", "i8"),
    # The decoder has not heard what came before the first kept packet, which is plainly voiced.
    ("is_behind", "i8"),
    # The extremes of the plainly voiced samples since a moment, which are within STEADY_DB.
    ("steady_low_dbfs", "f8"),
    ("steady_high_dbfs", "f8"),
    ("steady_since_ns", "i8"),
    # Packets kept, in order: payload lengths (0 = a pause, of kept_units ms), and where the payloads are and end.
    ("kept", "i8"),
    ("kept_memory", "i8"),
    ("kept_end", "i8"),
    ("kept_starts", "i8", (_MOST_KEPT,)),
    ("kept_lengths", "i8", (_MOST_KEPT,)),
    ("kept_units", "i8", (_MOST_KEPT,)),
    ("kept_at_ns", "i8", (_MOST_KEPT,)),
    # Full-size packets, decoded and not; and packets that libopus refused.
    ("decoded", "i8"),
    ("skipped", "i8"),
    ("undecodable", "i8"),
]


@compiled
def make_fresh_decoders(addresses: Any) -> None:
    """Fill the memory that is to be copied wherever a decoder is to have heard nothing."""
    opus_decoder_init(addresses[FRESH_DECODER], RATE, 1)
    opus_decoder_init(addresses[FRESH_SAMPLER], _SAMPLE_RATE, 1)


@compiled
def spoken_start(ear: Any, memory: int) -> None:
    """Begin a stream; `memory` is the address of OPUS_MEMORY_BYTES."""
    ear.decoder = memory
    ear.backup = memory + OPUS_DECODER_BYTES
    ear.kept_memory = memory + 2 * OPUS_DECODER_BYTES
    ear.is_out_of_step = 0
    ear.second_left = 0
    ear.settled = 0
    ear.quiet_units = 0
    ear.decoded = 0
    ear.skipped = 0
    ear.undecodable = 0
    _keep_none(ear)
    if memory != 0:
        opus_decoder_init(ear.decoder, RATE, 1)


@compiled
def spoken_begin(ear: Any, arrived_at_ns: int) -> None:
    """Go from hearing everything to samples: the packet that arrived then has made sure of an onset."""
    _keep_none(ear)
    ear.next_sample_ns = arrived_at_ns + _sample_every_ns(ear)
    _forget_steady(ear, arrived_at_ns)


@compiled
def _keep_none(ear: Any) -> None:
    ear.kept = 0
    ear.kept_end = 0
    ear.is_behind = 0


@compiled
def _sample_every_ns(ear: Any) -> int:
    return int(min(ear.quiet_ns // 2, _RAREST_SAMPLE_NS))


@compiled
def quiet_windows(ear: Any, units: int) -> int:
    """Return how many windows `units` more of silence fill."""
    whole = ear.quiet_units + units
    ear.quiet_units = whole % UNITS_PER_WINDOW
    return int(whole // UNITS_PER_WINDOW)


@compiled
def decoded_levels(ear: Any, decoder: int, payload: int, length: int, rate: int, levels: Any, scratch: Any) -> int:
    """Decode the payload at an address with the state at `decoder`, which is one for `rate`.

    Return the number of windows, -1 if it is no Opus.
    """
    count = opus_decode(decoder, payload, length, scratch.addresses[PCM], MOST_SAMPLES, 0)
    if count < 0:
        ear.undecodable += 1
        ear.is_out_of_step = 1
        return -1
    return window_levels(ear, scratch.pcm, count, rate // 1000, levels)


@compiled
def hear_silence(ear: Any, payload: int, length: int, units: int, scratch: Any) -> None:
    """Take a packet of the size of silence; the first two behind a larger one bring the decoder to rest."""
    windows = quiet_windows(ear, units)
    if ear.settled < _SETTLED:
        ear.settled += 1
        opus_decode(ear.decoder, payload, length, scratch.addresses[PCM], MOST_SAMPLES, 0)
    ear.second_left = 0
    # An agent may have a new encoder for what it says next.
    ear.is_out_of_step = 1
    onset_silence(ear, SILENCE_DBFS, windows)


@compiled
def spoken_packet(ear: Any, payload: int, length: int, units: int, arrived_at_ns: int, scratch: Any) -> None:
    """Keep a packet of an agent that speaks on, at the address `payload`; it may be time for a sample."""
    # One place stays free for a pause.
    if ear.kept >= _MOST_KEPT - 1 or ear.kept_end + length > _KEPT_BYTES:
        spoken_catch_up(ear, scratch)
    _keep(ear, length, units, arrived_at_ns)
    at = ear.kept - 1
    memcpy(ear.kept_memory + ear.kept_starts[at], payload, length)
    if length <= MOST_SILENCE_BYTES or arrived_at_ns < ear.next_sample_ns:
        return
    wait_ns = _sample_every_ns(ear)
    if not _sample(ear, at, scratch):
        wait_ns //= 2
    ear.next_sample_ns = arrived_at_ns + wait_ns


@compiled
def spoken_pause(ear: Any, duration_ms: int) -> None:
    """Keep in order that there was a pause in the RTP timestamps; there are kept packets."""
    _keep(ear, 0, duration_ms, 0)


@compiled
def _keep(ear: Any, length: int, units: int, arrived_at_ns: int) -> None:
    at = ear.kept
    ear.kept_starts[at] = ear.kept_end
    ear.kept_lengths[at] = length
    ear.kept_units[at] = units
    ear.kept_at_ns[at] = arrived_at_ns
    ear.kept = at + 1
    ear.kept_end += length


@compiled
def _sample(ear: Any, at: int, scratch: Any) -> bool:
    """Decode one kept packet out of order; when it is plainly voiced, drop those before it and return True.

    By a decoder that has heard nothing: the one that heard what was before would play that on (SILK repeats the last
    pitch period, however loud).
    """
    memcpy(ear.backup, scratch.addresses[FRESH_SAMPLER], OPUS_DECODER_BYTES)
    forget_part(ear)
    payload, arrived_at_ns = ear.kept_memory + ear.kept_starts[at], ear.kept_at_ns[at]
    levels = scratch.levels
    windows = decoded_levels(ear, ear.backup, payload, ear.kept_lengths[at], _SAMPLE_RATE, levels, scratch)
    if windows <= 0:
        return False
    top = highest(levels, windows)
    _learn_dip(ear, levels, windows)
    is_loud = top > gate_dbfs(ear) + _PLAIN_DB and top > ear.peak_dbfs - CLICK_DB + _PLAIN_DB
    if not is_loud or _is_steady(ear, levels, windows, arrived_at_ns):
        return False
    _drop_before(ear, at)
    ear.decoded += 1
    ear.peak_dbfs = max(top, ear.peak_dbfs)
    ear.last_voiced_at_ns = arrived_at_ns
    return True


@compiled
def _learn_dip(ear: Any, levels: Any, windows: int) -> None:
    """Let a sample lower the floor, when it is far under it: what 16 kHz lack of a noise makes no floor."""
    level = levels[windows - 1] + _PLAIN_DB
    if windows >= _PACKET_WINDOWS and level < ear.floor_levels[ear.floor_first]:
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
def _drop_before(ear: Any, at: int) -> None:
    """Drop the kept packets before one that is plainly voiced."""
    for i in range(ear.is_behind, at):
        _miss(ear, ear.kept_lengths[i], ear.kept_units[i])
    start = ear.kept_starts[at]
    memcpy(ear.kept_memory, ear.kept_memory + start, ear.kept_end - start)
    for i in range(at, ear.kept):
        ear.kept_starts[i - at] = ear.kept_starts[i] - start
        ear.kept_lengths[i - at] = ear.kept_lengths[i]
        ear.kept_units[i - at] = ear.kept_units[i]
        ear.kept_at_ns[i - at] = ear.kept_at_ns[i]
    ear.kept -= at
    ear.kept_end -= start
    ear.is_behind = 1


@compiled
def _miss(ear: Any, length: int, units: int) -> None:
    if length == 0:
        onset_pause(ear, units, ear.pause_dbfs)
        return
    windows = units // UNITS_PER_WINDOW
    ear.peak_dbfs -= PEAK_FALL_DB * windows
    if length <= MOST_SILENCE_BYTES:
        onset_silence(ear, SILENCE_DBFS, windows)
    else:
        ear.skipped += 1


@compiled
def spoken_find_end(ear: Any, scratch: Any) -> None:
    """Find the last voiced packet among the kept ones: those before one that is plainly voiced are not decoded."""
    last = ear.kept - 1
    while last > 0 and ear.kept_lengths[last] <= MOST_SILENCE_BYTES:
        last -= 1
    if not _leap(ear, last - _SHORT_LEAP, scratch):
        _leap(ear, last - _LONG_LEAP, scratch)
    spoken_catch_up(ear, scratch)


@compiled
def _leap(ear: Any, at: int, scratch: Any) -> bool:
    return at > 1 and ear.kept_lengths[at] > MOST_SILENCE_BYTES and _sample(ear, at, scratch)


@compiled
def spoken_catch_up(ear: Any, scratch: Any) -> None:
    """Decode the kept packets in order."""
    first = 0
    if ear.is_behind:
        memcpy(ear.decoder, scratch.addresses[FRESH_DECODER], OPUS_DECODER_BYTES)
        forget_part(ear)
        ear.settled = 0
        decoded_levels(ear, ear.decoder, ear.kept_memory, ear.kept_lengths[0], RATE, scratch.levels, scratch)
        first = 1
    for at in range(first, ear.kept):
        _hear_kept(ear, at, scratch)
    _keep_none(ear)


@compiled
def _hear_kept(ear: Any, at: int, scratch: Any) -> None:
    payload, length, units = ear.kept_memory + ear.kept_starts[at], ear.kept_lengths[at], ear.kept_units[at]
    if length == 0:
        onset_pause(ear, units, ear.pause_dbfs)
        return
    if length <= MOST_SILENCE_BYTES:
        hear_silence(ear, payload, length, units, scratch)
        return
    ear.settled = 0
    windows = decoded_levels(ear, ear.decoder, payload, length, RATE, scratch.levels, scratch)
    if windows < 0:
        return
    ear.decoded += 1
    arrived_at_ns = ear.kept_at_ns[at]
    onset_packet(ear, scratch.levels, windows, arrived_at_ns, arrived_at_ns, SILENCE_DBFS)
