"""Where in a channel the clips of a corpus are, without having heard first where anybody speaks.

Under a background that is speech itself no detector tells a caller from it; a clip that is known stands out all the
same. Each clip's first second and a half is correlated with the whole channel, both brought down to the band in which
voices are loudest, so that a minute of a call takes two seconds for some hundred clips. What comes out is to be looked
at closer: there are sentences that begin alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Over twice what the band asks for: between two samples a correlation must not fall far.
RATE = 4_000
BAND_HZ = (300.0, 1000.0)
HEAD_MS = 1_500
# Of a head with what a background, a room or an echo made of it; another's head may come to as much.
LEAST_LIKENESS = 0.5
# Two places of one clip lie further apart.
APART_MS = 500
_BLOCK = 1 << 17
# So many blocks are looked at at once.
_AT_ONCE = 8
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the clip of a number may begin to speak, ms from the channel's first sample, and how like it that is."""

    clip: int
    start_ms: float
    likeness: float


def lowered(signal: npt.NDArray[np.generic], rate: int) -> npt.NDArray[np.float32]:
    """Return what of `signal`, at a multiple of RATE, lies in BAND_HZ, at RATE; minute by minute, for memory's sake."""
    minute, margin, step = 60 * rate, rate, rate // RATE
    parts = [np.zeros(0, np.float32)]
    for at in range(0, len(signal), minute):
        before = min(at, margin)
        low = _lowered(signal[at - before : at + minute + margin], rate)
        parts.append(low[before // step : (before + minute) // step])
    return np.concatenate(parts)[: -(-len(signal) // step)]


def _lowered(signal: npt.NDArray[np.generic], rate: int) -> npt.NDArray[np.float32]:
    # A whole number of samples, and an even one: else the lower rate would be none exactly, and drift.
    step = 2 * rate // RATE
    padded = np.pad(signal.astype(np.float32), (0, -len(signal) % step))
    spectrum = np.fft.rfft(padded)
    hertz = np.arange(len(spectrum)) * (rate / len(padded))
    spectrum[(hertz < BAND_HZ[0]) | (hertz > BAND_HZ[1])] = 0
    count = len(padded) * RATE // rate
    return np.asarray(np.fft.irfft(spectrum[: count // 2 + 1], count) * (RATE / rate), np.float32)


def places(channel: npt.NDArray[np.float32], clips: int, head: Callable[[int], npt.NDArray[np.float32]]) -> list[Place]:
    """Return where in the lowered `channel` any of so many clips may begin; `head` gives a clip's, lowered."""
    longest = HEAD_MS * RATE // 1000
    span = _AT_ONCE * (_BLOCK - longest)
    found: list[Place] = []
    for begin in range(0, max(1, len(channel) - longest), span):
        part = channel[begin : begin + span + longest]
        total = np.concatenate([[0.0], np.cumsum(part.astype(np.float64) ** 2)])
        starts = range(0, max(1, len(part) - longest), _BLOCK - longest)
        spectra = np.fft.rfft(np.stack([_filled(part[at : at + _BLOCK]) for at in starts]), axis=1)
        for clip in range(clips):
            likeness = _likeness(spectra, total, head(clip), longest)
            found += [Place(clip, (begin + at) * 1000 / RATE, float(likeness[at])) for at in _peaks(likeness)]
    return found


def _likeness(
    spectra: npt.NDArray[np.complexfloating], total: Samples, wanted: npt.NDArray[np.float32], longest: int
) -> Samples:
    """Correlation coefficient of `wanted` with every part of the blocks that `total` is the energy up to."""
    energy, places = float(np.dot(wanted, wanted)), len(total) - len(wanted)
    if energy <= 0 or places <= 0:
        return np.zeros(0)
    rows = np.fft.irfft(spectra * np.conj(np.fft.rfft(_filled(wanted))), _BLOCK, axis=1)
    correlation = rows[:, : _BLOCK - longest].reshape(-1)[:places]
    powers = (total[len(wanted) :] - total[: -len(wanted)])[: len(correlation)]
    return np.asarray(correlation / np.sqrt(np.maximum(powers, 1e-3 * energy) * energy))


def _filled(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.pad(signal, (0, _BLOCK - len(signal)))


def _peaks(likeness: Samples) -> Iterator[int]:
    over = np.flatnonzero(likeness > LEAST_LIKENESS)
    if len(over):
        for group in np.split(over, np.flatnonzero(np.diff(over) > APART_MS * RATE // 1000) + 1):
            yield int(group[np.argmax(likeness[group])])
