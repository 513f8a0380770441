"""The tone a caller hears while it rings: 440 and 480 Hz, two seconds of six (ITU-T E.180, North America)."""

import numpy as np

from target_stack.edge.playout import FRAME_SAMPLES
from target_stack.frames import SPEECH_RATE, Pcm

_ON_S, _PERIOD_S = 2.0, 6.0
_FREQUENCIES = (440, 480)
# -19 dBm a frequency, as networks send it: some 6 % of full scale.
_AMPLITUDE = 0.06 * 32_767


class Ringback:
    """One caller's tone, a frame at a time."""

    def __init__(self) -> None:
        self._sample = 0

    def next_frame(self) -> Pcm | None:
        """Return the next 20 ms at SPEECH_RATE, None within the pause."""
        at = self._sample % int(_PERIOD_S * SPEECH_RATE)
        self._sample += FRAME_SAMPLES
        if at >= _ON_S * SPEECH_RATE:
            return None
        times = (at + np.arange(FRAME_SAMPLES)) / SPEECH_RATE
        wave = sum(np.sin(2 * np.pi * frequency * times) for frequency in _FREQUENCIES)
        return np.asarray(_AMPLITUDE * wave, np.int16)
