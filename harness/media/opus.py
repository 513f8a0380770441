"""Opus through PyAV's libopus: clips encoded once, agent audio decoded packet by packet."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

RATE = 48_000
PACKET_MS = 20
PACKET_SAMPLES = RATE * PACKET_MS // 1000
# Encoder look-ahead of libopus at 48 kHz in every mode but restricted low delay (RFC 7845 calls it pre-skip): a sample
# leaves in the packet that holds it only once the encoder is this far past it.
LOOKAHEAD_SAMPLES = 312
BIT_RATE = 32_000
# One 20 ms full-band mono frame of digital silence (RFC 6716, CELT only, silence flag set).
SILENCE_PAYLOAD = b"\xf8\xff\xfe"
# Digital silence takes 3 bytes, DTX 1 or 2; speech at 16 kbit/s and more takes 40 upward.
MOST_SILENCE_BYTES = 12

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """An utterance ready for the wire: one payload per 20 ms packet, and which packets carry its speech's edges."""

    utterance_id: str
    payloads: tuple[bytes, ...]
    first_voiced_packet: int
    last_voiced_packet: int
    # Mono, 48 kHz; for the recording.
    samples: Pcm

    @property
    def duration_ms(self) -> int:
        """Length on the wire."""
        return len(self.payloads) * PACKET_MS


def packet_of_sample(sample: int) -> int:
    """Return the index of the packet in which the encoder has fully emitted `sample` (a 48 kHz index)."""
    return (sample + LOOKAHEAD_SAMPLES) // PACKET_SAMPLES


def encode_clip(utterance_id: str, samples: Pcm, speech_start_ms: float, speech_end_ms: float) -> Clip:
    """Encode mono 48 kHz int16 samples whose speech lies between the two edges."""
    payloads = _encode(samples)
    last = min(packet_of_sample(max(0, int(speech_end_ms * RATE / 1000) - 1)), len(payloads) - 1)
    first = min(packet_of_sample(int(speech_start_ms * RATE / 1000)), last)
    return Clip(utterance_id, payloads, first, last, samples)


def new_encoder(rate: int) -> av.AudioCodecContext:
    """Return a libopus encoder for mono int16 speech at `rate` Hz, one packet per 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    if not isinstance(encoder, av.AudioCodecContext):
        raise TypeError("PyAV's libopus is not an audio encoder")
    encoder.sample_rate = rate
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.bit_rate = BIT_RATE
    encoder.time_base = Fraction(1, rate)
    encoder.options = {"application": "voip", "frame_duration": str(PACKET_MS), "vbr": "on"}
    return encoder


def _encode(samples: Pcm) -> tuple[bytes, ...]:
    encoder = new_encoder(RATE)
    # The look-ahead's worth of silence behind the last sample, so that its tail is emitted too.
    count = -(-(len(samples) + LOOKAHEAD_SAMPLES) // PACKET_SAMPLES)
    padded = np.zeros(count * PACKET_SAMPLES, np.int16)
    padded[: len(samples)] = samples
    payloads: list[bytes] = []
    for index in range(count):
        frame = av.AudioFrame.from_ndarray(
            padded[None, index * PACKET_SAMPLES : (index + 1) * PACKET_SAMPLES], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        frame.pts = index * PACKET_SAMPLES
        frame.time_base = Fraction(1, RATE)
        payloads.extend(bytes(p) for p in encoder.encode(frame))
    payloads.extend(bytes(p) for p in encoder.encode(None))
    return tuple(payloads[:count])


class Decoder:
    """One agent stream's decoder; keeps libopus's state from packet to packet."""

    def __init__(self) -> None:
        decoder = av.CodecContext.create("libopus", "r")
        if not isinstance(decoder, av.AudioCodecContext):
            raise TypeError("PyAV's libopus is not an audio decoder")
        decoder.sample_rate = RATE
        decoder.layout = "stereo"
        decoder.format = "s16"
        self._decoder = decoder

    def decode(self, payload: bytes) -> Pcm:
        """Return the mono mix of one packet, int16 at 48 kHz; empty when the payload is not decodable Opus."""
        try:
            frames = self._decoder.decode(av.Packet(payload))
        except av.FFmpegError:
            return np.zeros(0, np.int16)
        if not frames:
            return np.zeros(0, np.int16)
        interleaved = np.concatenate([f.to_ndarray().reshape(-1) for f in frames])
        return np.asarray(interleaved.reshape(-1, 2).astype(np.int32).mean(axis=1), dtype=np.int16)
