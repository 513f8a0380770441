"""States of Opus decoders: what a packet is by its first bytes, and with which state it is decoded.

A state that has heard nothing, or just silence, is a copy of one made beforehand. libopus would make a new one at each
change between its two coders, SILK (alone, or hybrid: for the lower half of the band) and CELT, and asks the processor
for its features whenever it does; that traps in virtual machines, and costs more than the packet. So there is a copy
for either coder.

 coded silence --> the next larger packet is decoded by a copy: what was before is heard no more (CELT sets all its
                   energies to silence, SILK begins anew behind CELT)
 other packets of the size of silence (DTX, a SILK frame without voice) --> the first two are decoded
"""

from typing import Any

import numpy as np

from harness.media.hot.jit import address_of, compiled
from harness.media.hot.levels import LINEAR, window_levels
from harness.media.hot.native import OPUS_DECODER_BYTES, memcpy, opus_decode, opus_decoder_init
from harness.media.hot.onset import SILENCE_DBFS, onset_silence

# Digital silence takes 3 bytes, DTX 1 or 2; speech at 16 kbit/s and more takes 40 upward.
MOST_SILENCE_BYTES = 12
RATE, SAMPLE_RATE = 48_000, 16_000
# An Opus packet holds at most 120 ms (RFC 6716 3.2.5).
MOST_SAMPLES = RATE * 120 // 1000
# Frame lengths and everything made of them are counted in units of 2.5 ms.
UNITS_PER_WINDOW = 2
# Kinds of packets: silence by CELT's silence flag (its first 15 bits, RFC 6716 4.3), others of its size, larger ones.
CODED_SILENCE, SMALL, BY_CELT, BY_SILK = 0, 1, 2, 3
# Packets of the size of silence after which the decoder's state changes no more.
_SETTLED = 2
# Indices of EarScratch.addresses: room for samples, a decoder for samples out of order; then what is copied: decoders
# that have heard nothing, two a rate, for CELT and for SILK; and one that has heard silence.
PCM, SAMPLER, FRESH_DECODER, FRESH_SAMPLER, RESTED = 0, 1, 2, 4, 6
STATES = 6
_SILENCE_BY_CELT = bytes.fromhex("f8fffe")
# Wide-band silence as libopus's encoder begins with it: brings SILK to its rate, and leaves nothing to be heard.
_SILENCE_BY_SILK = bytes.fromhex("480be4c136f8455de8")

FIELDS: list[tuple[Any, ...]] = [
    # Addresses of two decoder states of OPUS_DECODER_BYTES.
    ("decoder", "i8"),
    ("backup", "i8"),
    # The decoder may not be where the encoder was.
    ("is_out_of_step", "i8"),
    # Silence was coded since the decoder heard anything.
    ("is_rested", "i8"),
    # Packets that the second decoder, whose state is in `backup`, is yet to hear; it has heard none.
    ("second_left", "i8"),
    ("is_second_new", "i8"),
    # Silence-sized packets since the last larger one.
    ("settled", "i8"),
    # Units of silence that do not fill a window yet.
    ("quiet_units", "i8"),
    # Packets that libopus refused.
    ("undecodable", "i8"),
]


def make_states(addresses: Any) -> None:
    """Fill the memory at `addresses`, but for the first two, with what is to be copied."""
    silences = [np.frombuffer(payload, np.uint8) for payload in (_SILENCE_BY_SILK, _SILENCE_BY_CELT)]
    lengths = [len(silence) for silence in silences]
    _make_states(addresses, address_of(silences[0]), lengths[0], address_of(silences[1]), lengths[1])


@compiled
def _make_states(addresses: Any, by_silk: int, silk_length: int, by_celt: int, celt_length: int) -> None:
    for index, rate in ((FRESH_DECODER, RATE), (FRESH_SAMPLER, SAMPLE_RATE)):
        opus_decoder_init(addresses[index], rate, 1)
        opus_decoder_init(addresses[index + 1], rate, 1)
        opus_decode(addresses[index + 1], by_silk, silk_length, addresses[PCM], MOST_SAMPLES, 0)
    opus_decoder_init(addresses[RESTED], RATE, 1)
    for _ in range(_SETTLED):
        opus_decode(addresses[RESTED], by_celt, celt_length, addresses[PCM], MOST_SAMPLES, 0)


@compiled
def state_start(ear: Any, memory: int) -> None:
    """Begin a stream with two states at `memory`, 0 = nothing is decoded."""
    ear.decoder = memory
    ear.backup = memory + OPUS_DECODER_BYTES
    ear.is_out_of_step = 0
    ear.is_rested = 0
    ear.second_left = 0
    ear.is_second_new = 0
    ear.settled = 0
    ear.quiet_units = 0
    ear.undecodable = 0
    if memory != 0:
        opus_decoder_init(ear.decoder, RATE, 1)


@compiled
def opus_kind(payload: Any, offset: int, length: int) -> int:
    """Return what kind of packet the `length` bytes of payload[offset:] are."""
    toc = int(payload[offset])
    if length > MOST_SILENCE_BYTES:
        return BY_CELT if toc & 0x80 else BY_SILK
    is_one_celt_frame = length >= 3 and toc & 0x83 == 0x80
    if is_one_celt_frame and payload[offset + 1] == 0xFF and payload[offset + 2] >= 0xFE:
        return CODED_SILENCE
    return SMALL


@compiled
def copy_fresh(to: int, of: int, kind: int, scratch: Any) -> None:
    """Have the state at `to` heard nothing, ready for a packet of `kind`; `of` is FRESH_DECODER or FRESH_SAMPLER."""
    memcpy(to, scratch.addresses[of + (1 if kind == BY_SILK else 0)], OPUS_DECODER_BYTES)


@compiled
def ready_decoder(ear: Any, kind: int, scratch: Any) -> bool:
    """Have the decoder ready for a larger packet of `kind`; tell whether it is one that has heard nothing."""
    ear.settled = 0
    if not ear.is_rested:
        return False
    ear.is_rested = 0
    if kind == BY_SILK:
        copy_fresh(ear.decoder, FRESH_DECODER, kind, scratch)
        return True
    memcpy(ear.decoder, scratch.addresses[RESTED], OPUS_DECODER_BYTES)
    return False


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
    return window_levels(ear, scratch.pcm, 0, count, rate // 1000, LINEAR, levels)


@compiled
def hear_silence(ear: Any, payload: int, length: int, units: int, kind: int, scratch: Any) -> None:
    """Take a packet of the size of silence."""
    windows = quiet_windows(ear, units)
    if kind == CODED_SILENCE:
        ear.is_rested = 1
    elif not ear.is_rested and ear.settled < _SETTLED:
        ear.settled += 1
        opus_decode(ear.decoder, payload, length, scratch.addresses[PCM], MOST_SAMPLES, 0)
    ear.second_left = 0
    # An agent may have a new encoder for what it says next.
    ear.is_out_of_step = 1
    onset_silence(ear, SILENCE_DBFS, windows)
