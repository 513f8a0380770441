"""Is a sound voiced? The peak of the normalised autocorrelation, after Boersma (IFA Proceedings 17, 1993).

A 40 ms window, one every 5 ms, of what lies between 70 and 1,500 Hz; its autocorrelation is divided by the window's
own, so that a periodic sound comes near 1 whatever its pitch. Breath, clicks and keys stay under 0.55.
"""

import numpy as np
from numpy.typing import NDArray

FRAME_MS = 40
HOP_MS = 5
BAND_HZ = (70.0, 1500.0)
PITCH_HZ = (65.0, 400.0)
PERIODIC_ABOVE = 0.55
_BATCH = 512


def is_voiced(x: NDArray[np.float64], rate: int, at_ms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for each instant of `at_ms` whether mono `x`, shape (samples,), is periodic there."""
    measured = periodicity(x, rate)
    if not len(measured):
        return np.zeros(len(at_ms), np.bool_)
    middles = np.arange(len(measured)) * HOP_MS
    return np.asarray(np.interp(at_ms, middles, measured) > PERIODIC_ABOVE)


def periodicity(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Return the periodicity (about 0 to 1) of the 40 ms around every 5 ms of `x`, beginning at its first sample."""
    frame = rate * FRAME_MS // 1000
    padded = np.concatenate([np.zeros(frame // 2), x, np.zeros(frame)])
    starts = np.round(np.arange(len(x) * 1000 // (rate * HOP_MS) + 1) * (rate * HOP_MS / 1000)).astype(np.int64)
    size = 1 << (2 * frame - 1).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / rate)
    kept = int(np.searchsorted(hertz, BAND_HZ[1]))
    # An inverse transform of the kept bins alone is the autocorrelation at a lower rate.
    low_rate = 2 * (kept - 1) * rate / size
    shortest, longest = int(np.ceil(low_rate / PITCH_HZ[1])), int(low_rate / PITCH_HZ[0])
    window = np.hanning(frame)
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2, size)[: size // 2]
    taper = np.interp(np.arange(longest + 1) * rate / low_rate, np.arange(size // 2), of_window / of_window[0])
    found = np.zeros(len(starts))
    for at in range(0, len(starts), _BATCH):
        frames = padded[starts[at : at + _BATCH, None] + np.arange(frame)] * window
        power = np.abs(np.fft.rfft(frames, size)[:, :kept]) ** 2
        power[:, hertz[:kept] < BAND_HZ[0]] = 0
        lags = np.fft.irfft(power, 2 * (kept - 1))[:, : longest + 1]
        found[at : at + _BATCH] = np.max(lags[:, shortest:] / taper[shortest:], axis=1) / np.maximum(lags[:, 0], 1e-18)
    return found
