"""Opus through PyAV's libopus: speech encoded, agent audio decoded packet by packet."""

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

RATE = 48_000
PACKET_MS = 20
PACKET_SAMPLES = RATE * PACKET_MS // 1000
BIT_RATE = 32_000
# One 20 ms full-band mono frame of digital silence (RFC 6716, CELT only, silence flag set).
SILENCE_PAYLOAD = b"\xf8\xff\xfe"
# Digital silence takes 3 bytes, DTX 1 or 2; speech at 16 kbit/s and more takes 40 upward.
MOST_SILENCE_BYTES = 12

Pcm = npt.NDArray[np.int16]


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


def encode(samples: Pcm) -> tuple[bytes, ...]:
    """Encode mono 48 kHz int16 samples, a whole number of packets of them; returns one payload a packet."""
    encoder = new_encoder(RATE)
    count = len(samples) // PACKET_SAMPLES
    payloads: list[bytes] = []
    for index in range(count):
        frame = av.AudioFrame.from_ndarray(
            samples[None, index * PACKET_SAMPLES : (index + 1) * PACKET_SAMPLES], format="s16", layout="mono"
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
