"""Agent speech to Opus, one payload per 20 ms. libopus takes 24 kHz as it is, so nothing is resampled."""

from fractions import Fraction

import av

from harness.media.opus import SILENCE_PAYLOAD, new_encoder
from target_stack.edge.playout import FRAME_SAMPLES
from target_stack.frames import SPEECH_RATE, Pcm

# So many frames of silence are encoded, so that a decoder's state fades out; then a fixed payload stands for it.
_FADING_FRAMES = 5
_TIME_BASE = Fraction(1, SPEECH_RATE)


class SpeechEncoder:
    """The encoder of one call's outgoing stream."""

    def __init__(self) -> None:
        self._encoder = new_encoder(SPEECH_RATE)
        self._silent_frames = _FADING_FRAMES
        self._pts = 0
        self._silence = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        for plane in self._silence.planes:
            plane.update(bytes(plane.buffer_size))

    def encode(self, samples: Pcm | None) -> bytes:
        """Return the payload of FRAME_SAMPLES mono samples, or of silence for None."""
        if samples is not None:
            self._silent_frames = 0
            return self._encode(av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono"))
        if self._silent_frames >= _FADING_FRAMES:
            return SILENCE_PAYLOAD
        self._silent_frames += 1
        return self._encode(self._silence)

    def _encode(self, frame: av.AudioFrame) -> bytes:
        frame.sample_rate = SPEECH_RATE
        frame.pts = self._pts
        frame.time_base = _TIME_BASE
        self._pts += FRAME_SAMPLES
        packets = self._encoder.encode(frame)
        # libopus gives one packet a frame; should it ever hold one back, silence keeps the stream's clock.
        return bytes(packets[0]) if packets else SILENCE_PAYLOAD
