"""A voice-like test signal without a ramp, so that its first and last audible samples are known exactly."""

import numpy as np
import numpy.typing as npt

_PITCH_HZ = 140.0
_HARMONICS = 24
_SYLLABLES_PER_S = 4.0
_PEAK = 9000.0


def voiced(duration_ms: float, rate: int) -> npt.NDArray[np.int16]:
    """Return int16 mono samples: harmonics of 140 Hz, swelling four times a second, never below a third of the peak."""
    t = np.arange(int(duration_ms * rate / 1000)) / rate
    tone = sum(np.cos(2 * np.pi * _PITCH_HZ * k * t) / k for k in range(1, _HARMONICS + 1))
    swell = 0.65 + 0.35 * np.cos(2 * np.pi * _SYLLABLES_PER_S * t)
    signal = np.asarray(tone * swell)
    return np.asarray(signal / np.max(np.abs(signal)) * _PEAK, dtype=np.int16)
