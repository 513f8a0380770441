"""Agent speech to payloads, one per 20 ms, in any codec of a call.

libopus takes 24 kHz as it is; for the others speech is resampled, which costs 1 or 2 ms (half the filter's length).
"""

from fractions import Fraction

import av
import numpy as np

from harness.media.codecs import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, Codec
from harness.media.opus import new_encoder
from target_stack.edge.playout import FRAME_SAMPLES
from target_stack.frames import SPEECH_RATE, Pcm

# So many frames of silence are encoded, so that a decoder's state fades out; then a fixed payload stands for it.
_FADING_FRAMES = 5
_NAMES = {PCMU: "pcm_mulaw", PCMA: "pcm_alaw", G722: "g722", L16_8K: "pcm_s16le", L16_16K: "pcm_s16le"}
_SILENCE: Pcm = np.zeros(FRAME_SAMPLES, np.int16)


class SpeechEncoder:
    """The encoder of one call's outgoing stream."""

    def __init__(self, codec: Codec = OPUS) -> None:
        self._codec = codec
        self._rate = SPEECH_RATE if codec is OPUS else codec.sample_rate
        self._encoder: av.AudioCodecContext | None = new_encoder(SPEECH_RATE) if codec is OPUS else _encoder(codec)
        self._resampler = None if codec is OPUS else _Resampler(codec)
        self._time_base = Fraction(1, self._rate)
        self._silent_frames = _FADING_FRAMES
        self._pts = 0

    def encode(self, samples: Pcm | None) -> bytes:
        """Return the payload of FRAME_SAMPLES mono samples, or of silence for None."""
        if samples is not None:
            self._silent_frames = 0
            return self._encode(samples)
        if self._silent_frames >= _FADING_FRAMES:
            return self._codec.silence
        self._silent_frames += 1
        return self._encode(_SILENCE)

    def close(self) -> None:
        """Give back encoder and resampler, and with them their threads, which would wait for the collector."""
        self._encoder = self._resampler = None

    def _encode(self, samples: Pcm) -> bytes:
        if self._encoder is None:
            return self._codec.silence
        if self._resampler is not None:
            samples = self._resampler.resample(samples)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._pts
        frame.time_base = self._time_base
        self._pts += len(samples)
        packets = self._encoder.encode(frame)
        # One packet a frame; should an encoder ever hold one back, silence keeps the stream's clock.
        return bytes(packets[0]) if packets else self._codec.silence


class _Resampler:
    """SPEECH_RATE to the codec's rate: for each frame in, exactly a packet's samples out."""

    def __init__(self, codec: Codec) -> None:
        self._size = codec.packet_samples
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=codec.sample_rate)
        # What the filter keeps back of the first frame is made up for by as much silence before it.
        kept = self._size - len(self._filtered(_SILENCE))
        self._pending: Pcm = np.zeros(kept, np.int16)

    def resample(self, samples: Pcm) -> Pcm:
        """Return a packet's samples."""
        whole = np.concatenate((self._pending, self._filtered(samples)))
        self._pending = whole[self._size :]
        return whole[: self._size]

    def _filtered(self, samples: Pcm) -> Pcm:
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = SPEECH_RATE
        parts = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        return np.concatenate([np.zeros(0, np.int16), *parts])


def _encoder(codec: Codec) -> av.AudioCodecContext:
    encoder = av.CodecContext.create(_NAMES[codec], "w")
    if not isinstance(encoder, av.AudioCodecContext):
        raise TypeError(f"PyAV's {_NAMES[codec]} is not an audio encoder")
    encoder.sample_rate = codec.sample_rate
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.time_base = Fraction(1, codec.sample_rate)
    return encoder
