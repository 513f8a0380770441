"""Agent audio decoded packet by packet through PyAV, away from the loop: for recordings."""

import av
import numpy as np

from harness.media import opus
from harness.media.clips import Pcm
from harness.media.codecs import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, Codec

_NAMES = {PCMU: "pcm_mulaw", PCMA: "pcm_alaw", G722: "g722", L16_8K: "pcm_s16le", L16_16K: "pcm_s16le"}


class PayloadDecoder:
    """One agent stream's decoder of any codec; keeps its state from packet to packet."""

    def __init__(self, codec: Codec) -> None:
        self._opus = opus.Decoder() if codec is OPUS else None
        self._other: av.AudioCodecContext | None = None
        if codec is not OPUS:
            decoder = av.CodecContext.create(_NAMES[codec], "r")
            if not isinstance(decoder, av.AudioCodecContext):
                raise TypeError(f"PyAV's {_NAMES[codec]} is not an audio decoder")
            decoder.sample_rate = codec.sample_rate
            decoder.layout = "mono"
            self._other = decoder

    def decode(self, payload: bytes) -> Pcm:
        """Return one packet's samples, mono int16 at the codec's sample rate; empty when it is not decodable."""
        if self._opus is not None:
            return self._opus.decode(payload)
        if self._other is None or not payload:
            return np.zeros(0, np.int16)
        try:
            frames = self._other.decode(av.Packet(payload))
        except av.FFmpegError:
            return np.zeros(0, np.int16)
        return np.concatenate([np.zeros(0, np.int16), *(f.to_ndarray().reshape(-1) for f in frames)])
