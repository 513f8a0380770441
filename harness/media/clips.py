"""Utterances ready for the wire: encoded once for a codec, then sent by any number of calls, packet by packet."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from harness.media import opus
from harness.media.codecs import G722, L16_8K, L16_16K, OPUS, PACKET_MS, PCMA, PCMU, Codec
from harness.media.hot.g711 import ALAW, ULAW
from harness.media.payloads import Payloads

Pcm = npt.NDArray[np.int16]


def _no_samples() -> Pcm:
    return np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """An utterance ready for the wire: one payload per 20 ms packet, and which packets carry its speech's edges."""

    utterance_id: str
    payloads: Payloads
    first_voiced_packet: int
    last_voiced_packet: int
    # Mono, at the codec's sample rate; for the recording. Few calls are recorded, and what was encoded is many times
    # as large as its payloads: a corpus's clips keep it on disk.
    read_samples: Callable[[], Pcm] = _no_samples
    codec: Codec = OPUS

    @property
    def duration_ms(self) -> int:
        """Length on the wire."""
        return len(self.payloads) * PACKET_MS


def packet_of_sample(sample: int, codec: Codec = OPUS) -> int:
    """Return the index of the packet in which the encoder has fully emitted `sample`, an index at the codec's rate."""
    return (sample + codec.delay) // codec.packet_samples


def encode_clip(
    utterance_id: str,
    samples: Pcm,
    speech_start_ms: float,
    speech_end_ms: float,
    codec: Codec = OPUS,
    *,
    read_samples: Callable[[], Pcm] | None = None,
) -> Clip:
    """Encode mono int16 samples at the codec's sample rate, whose speech lies between the two edges.

    `read_samples` returns the same samples whenever they are asked for; without it the clip keeps them.
    """
    # The delay's worth of silence behind the last sample, so that its tail is emitted too.
    count = -(-(len(samples) + codec.delay) // codec.packet_samples)
    padded = np.zeros(count * codec.packet_samples, np.int16)
    padded[: len(samples)] = samples
    payloads = _ENCODERS[codec](padded)
    rate = codec.sample_rate
    last = min(packet_of_sample(max(0, int(speech_end_ms * rate / 1000) - 1), codec), len(payloads) - 1)
    first = min(packet_of_sample(int(speech_start_ms * rate / 1000), codec), last)
    return Clip(utterance_id, Payloads(payloads), first, last, read_samples or (lambda: samples), codec)


def _codes_by_sample(values: Pcm) -> npt.NDArray[np.uint8]:
    """Return the code of every int16 sample, shape (65536,), indexed by the sample's bits as unsigned.

    Each sample gets the code nearest to it, ties the louder one, as the encoders of the Recommendation do.
    """
    codes = np.zeros(65_536, np.uint8)
    samples = np.arange(-32_768, 32_768)
    # Bit 0x80 is the sign in both laws, and set for positive samples.
    for sign_bit, is_side in ((0x80, samples >= 0), (0x00, samples < 0)):
        side = np.arange(128) + sign_bit
        by_loudness = side[np.argsort(np.abs(values[side].astype(np.int64)))]
        levels = np.abs(values[by_loudness].astype(np.int64))
        louder = np.searchsorted((levels[:-1] + levels[1:]) / 2, np.abs(samples[is_side]), side="right")
        codes[samples[is_side] & 0xFFFF] = by_loudness[louder]
    return codes


_ULAW_CODES = _codes_by_sample(ULAW)
_ALAW_CODES = _codes_by_sample(ALAW)


def _in_packets(encoded: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(encoded[at : at + size] for at in range(0, len(encoded), size))


def _encode_ulaw(samples: Pcm) -> tuple[bytes, ...]:
    return _in_packets(_ULAW_CODES[samples.view(np.uint16)].tobytes(), PCMU.packet_samples)


def _encode_alaw(samples: Pcm) -> tuple[bytes, ...]:
    return _in_packets(_ALAW_CODES[samples.view(np.uint16)].tobytes(), PCMA.packet_samples)


def _encode_l16(packet_samples: int) -> Callable[[Pcm], tuple[bytes, ...]]:
    return lambda samples: _in_packets(samples.astype("<i2").tobytes(), 2 * packet_samples)


def g722_encoder() -> av.AudioCodecContext:
    """Return a G.722 encoder for mono int16 at its sample rate, one packet per 20 ms."""
    encoder = av.CodecContext.create("g722", "w")
    if not isinstance(encoder, av.AudioCodecContext):
        raise TypeError("PyAV's g722 is not an audio encoder")
    encoder.sample_rate = G722.sample_rate
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.time_base = Fraction(1, G722.sample_rate)
    return encoder


def _encode_g722(samples: Pcm) -> tuple[bytes, ...]:
    encoder = g722_encoder()
    payloads: list[bytes] = []
    for at in range(0, len(samples), G722.packet_samples):
        piece = samples[None, at : at + G722.packet_samples]
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate = G722.sample_rate
        frame.pts = at
        frame.time_base = encoder.time_base
        payloads.extend(bytes(p) for p in encoder.encode(frame))
    payloads.extend(bytes(p) for p in encoder.encode(None))
    return tuple(payloads)


_ENCODERS: dict[Codec, Callable[[Pcm], tuple[bytes, ...]]] = {
    OPUS: opus.encode,
    PCMU: _encode_ulaw,
    PCMA: _encode_alaw,
    G722: _encode_g722,
    L16_8K: _encode_l16(L16_8K.packet_samples),
    L16_16K: _encode_l16(L16_16K.packet_samples),
}


def payloads_of(samples: Pcm, codec: Codec) -> tuple[bytes, ...]:
    """Return the payloads of whole packets of mono int16 samples, by an encoder that begins with them."""
    return _ENCODERS[codec](samples)
