"""How loud is speech: ITU-T P.56 method B, the active speech level.

The RMS of a whole recording falls with every pause in it. P.56 measures over active time only: an envelope (two
cascaded exponential averages of 30 ms) is compared with a ladder of thresholds, each with 200 ms of hangover; the
active level is where the level of what lies above a threshold exceeds that threshold by 15.9 dB.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TIME_CONSTANT_S = 0.03
HANGOVER_S = 0.2
MARGIN_DB = 15.9
# Thresholds are powers of two below full scale, as far as 16 bits reach.
_LADDER = 2.0 ** np.arange(-15, 0)
# Below this the signal is silence to any 16-bit system.
SILENCE_DBFS = -100.0


@dataclass(frozen=True, slots=True)
class SpeechLevel:
    """Active speech level and the share of the time that was active (0-1)."""

    active_dbfs: float
    activity_ratio: float


def active_speech_level(signal: NDArray[np.generic], rate: int) -> SpeechLevel:
    """P.56 level of mono `signal`, shape (samples,): int16, or float where 1.0 is full scale.

    In dB over RMS 1.0 (a full-scale square wave), so a full-scale sine is -3.0. Silence gives SILENCE_DBFS, ratio 0.
    """
    x = as_float(signal)
    energy = float(np.sum(x * x))
    envelope = _envelope(x, rate)
    hangover = int(np.ceil(HANGOVER_S * rate))
    above: tuple[float, float] | None = None
    for threshold in _LADDER:
        active = _active_samples(envelope >= threshold, hangover)
        if energy == 0 or active == 0:
            break
        level = 10 * np.log10(energy / active)
        excess = float(level - 20 * np.log10(threshold) - MARGIN_DB)
        if excess <= 0:
            found = level if above is None else _interpolate(above, (excess, float(level)))
            return SpeechLevel(float(found), float(10 ** (-found / 10) * energy / len(x)))
        above = (excess, float(level))
    if above is None:
        return SpeechLevel(SILENCE_DBFS, 0.0)
    # Louder than the ladder's top at the margin, which only a clipped signal is: the last step is the best estimate.
    return SpeechLevel(above[1], float(10 ** (-above[1] / 10) * energy / len(x)))


def rms_dbfs(signal: NDArray[np.generic]) -> float:
    """RMS over the whole of `signal`, in the same dB."""
    x = as_float(signal)
    power = float(np.mean(x * x)) if len(x) else 0.0
    return 10 * float(np.log10(power)) if power > 0 else SILENCE_DBFS


def as_float(signal: NDArray[np.generic]) -> NDArray[np.float64]:
    """int16 or float samples as float64 with full scale 1.0."""
    x = signal.astype(np.float64)
    return x / 32768 if signal.dtype == np.int16 else x


def _envelope(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Two cascaded one-pole averages of |x|, as one convolution: their joint response is (1-g)^2 (n+1) g^n."""
    g = np.exp(-1 / (rate * TIME_CONSTANT_S))
    n = np.arange(round(rate * TIME_CONSTANT_S * 25))
    response = (1 - g) ** 2 * (n + 1) * g**n
    size = 1 << (len(x) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(np.abs(x), size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(x)]


def _active_samples(is_above: NDArray[np.bool_], hangover: int) -> int:
    """Count the samples at or above the threshold, or within the hangover after one."""
    index = np.arange(len(is_above))
    last = np.maximum.accumulate(np.where(is_above, index, -hangover - 1))
    return int(np.count_nonzero(index - last <= hangover))


def _interpolate(above: tuple[float, float], below: tuple[float, float]) -> float:
    """Level where the excess crosses zero, between two steps given as (excess_db, level_db)."""
    share = above[0] / (above[0] - below[0])
    return above[1] + share * (below[1] - above[1])
