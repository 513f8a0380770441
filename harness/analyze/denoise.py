"""A channel without its background, where that is loud: log-spectral amplitude estimation (Ephraim and Malah 1985).

The detectors hold levels against the background, so speech that fades into noise ends early for them, and speech that
rises out of it begins late. The background is measured, bin by bin, in the quietest frames of every few seconds, and
taken out of spectra of 32 ms. The a-priori SNR is estimated by the decision-directed rule forwards and backwards, and
the two are averaged: a recording is all there, and an estimator that knows the past alone would come late at every
onset.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.caller_side import frame_levels_db
from harness.analyze.recording import Pcm

FRAME_MS, HOP_MS = 32, 8
# A background at least so loud, and no further under the speech, is taken out.
LOUD_DBFS = -62.0
CLOSE_DB = 38.0
BLOCK_S = 6
QUIETEST = 0.2
SMOOTHING = 0.92
LEAST_GAIN = 10 ** (-22 / 20)
RUMBLE_HZ = 120
LEAST_PRIOR = 10 ** (-25 / 10)
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Background:
    """A background that was taken out, and the speech it stood under, dB over full scale."""

    level_dbfs: float
    speech_dbfs: float


def without_background(pcm: Pcm, rate: int) -> tuple[Pcm, Background | None]:
    """Return `pcm` without its steady background, and what that was; `pcm` itself where it is faint."""
    frames = frame_levels_db(pcm, rate)
    if len(frames) < 2:
        return pcm, None
    found = Background(float(np.percentile(frames, 15)), float(np.percentile(frames, 95)))
    if found.level_dbfs < LOUD_DBFS or not 3.0 < found.speech_dbfs - found.level_dbfs < CLOSE_DB:
        return pcm, None
    size, hop = rate * FRAME_MS // 1000, rate * HOP_MS // 1000
    # Square-root Hann before and behind: they add up to one at this hop, twice over.
    window = np.sqrt(np.hanning(size + 1)[:-1])
    padded = np.concatenate([np.zeros(size), pcm.astype(np.float64), np.zeros(2 * size)])
    out = np.zeros(len(padded))
    count = (len(padded) - size) // hop + 1
    block = BLOCK_S * 1000 // HOP_MS
    for first in range(0, count, block):
        # A block sees a second of its neighbours, so that nothing changes at its ends.
        begin, end = max(0, first - 125), min(count, first + block + 125)
        spectra = np.fft.rfft(padded[np.arange(begin, end)[:, None] * hop + np.arange(size)] * window, axis=1)
        gains = _gains(np.abs(spectra) ** 2)
        gains[:, : int(np.ceil(RUMBLE_HZ * size / rate))] = 0
        mine = slice(first - begin, min(count, first + block) - begin)
        pieces = np.fft.irfft(spectra[mine] * gains[mine], size, axis=1) * window
        for offset, piece in enumerate(pieces):
            at = (first + offset) * hop
            out[at : at + size] += piece
    clean = out[size : size + len(pcm)] / (size / hop / 2)
    return np.clip(np.round(clean), -32768, 32767).astype(np.int16), found


def _gains(power: Samples) -> Samples:
    """Gain of every bin, shape (frames, bins), of a block of power spectra."""
    noise = _noise(power)
    posterior = np.minimum(power / noise, 1e4)
    forwards, backwards = _priors(posterior), _priors(posterior[::-1])[::-1]
    prior = np.sqrt(forwards * backwards)
    v = np.maximum(prior / (1 + prior) * posterior, 1e-3)
    gains: Samples = np.clip(prior / (1 + prior) * np.exp(0.5 * _exponential_integral(v)), LEAST_GAIN, 1.0)
    return gains


def _noise(power: Samples) -> Samples:
    """Mean power spectrum of the quietest frames; made up for their having been chosen for it."""
    loudness = np.mean(np.log(power + 1e-3), axis=1)
    smooth = np.convolve(loudness, np.ones(5) / 5, "same")
    quiet = power[smooth <= np.quantile(smooth, QUIETEST)]
    noise: Samples = np.mean(quiet, axis=0) * 1.1 + 1e-3
    return noise


def _priors(posterior: Samples) -> Samples:
    """A-priori SNR by the decision-directed rule, frame after frame."""
    prior = np.empty_like(posterior)
    before = np.ones(posterior.shape[1])
    for index, now in enumerate(posterior):
        estimate = SMOOTHING * before + (1 - SMOOTHING) * np.maximum(now - 1, 0)
        prior[index] = np.maximum(estimate, LEAST_PRIOR)
        before = (prior[index] / (1 + prior[index])) ** 2 * now
    return prior


def _exponential_integral(v: Samples) -> Samples:
    """E1(v), by the approximations 5.1.53 and 5.1.56 of Abramowitz and Stegun."""
    small = np.minimum(v, 1.0)
    series = -np.log(small) + np.polyval(
        [0.00107857, -0.00976004, 0.05519968, -0.24991055, 0.99999193, -0.57721566], small
    )
    large = np.maximum(v, 1.0)
    top = np.polyval([1, 8.5733287401, 18.0590169730, 8.6347608925, 0.2677737343], large)
    bottom = np.polyval([1, 9.5733223454, 25.6329561486, 21.0996530827, 3.9584969228], large)
    return np.asarray(np.where(v < 1, series, np.exp(-large) / large * top / bottom))
