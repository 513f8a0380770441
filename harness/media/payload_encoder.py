"""Audio encoded packet by packet through PyAV, away from the loop: for what a call sends that is no clip."""

from fractions import Fraction

import av
import numpy as np

from harness.media import opus
from harness.media.clips import Pcm, g722_encoder, payloads_of
from harness.media.codecs import G722, OPUS, Codec


class PayloadEncoder:
    """One stream's encoder of any codec; keeps its state from packet to packet."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._position = 0
        self._context: av.AudioCodecContext | None = None
        if codec is OPUS:
            self._context = opus.new_encoder(codec.sample_rate)
        elif codec is G722:
            self._context = g722_encoder()

    def encode(self, samples: Pcm) -> bytes | None:
        """Return the payload of one packet's samples, mono int16 at the codec's rate; None while the codec keeps it."""
        if self._context is None:
            return payloads_of(samples, self._codec)[0]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate = self._codec.sample_rate
        frame.time_base = Fraction(1, self._codec.sample_rate)
        frame.pts = self._position
        self._position += len(samples)
        return next((bytes(packet) for packet in self._context.encode(frame)), None)
