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
# So many blocks are transformed at once.
_AT_ONCE = 8
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the clip of a number may begin to speak, ms from the channel's first sample, and how like it that is."""

    clip: int
    start_ms: float
    likeness: float


def lowered(signal: npt.NDArray[np.generic], rate: int) -> npt.NDArray[np.float32]:
    """Return what of `signal`, at a multiple of RATE, lies in BAND_HZ, at RATE."""
    if not len(signal):
        return np.zeros(0, np.float32)
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
    total = np.concatenate([[0.0], np.cumsum(channel.astype(np.float64) ** 2)])
    longest = HEAD_MS * RATE // 1000
    step = _BLOCK - longest
    starts = range(0, max(1, len(channel) - longest), step)
    blocks = np.stack([_filled(channel[at : at + _BLOCK]) for at in starts])
    spectra = np.fft.rfft(blocks, axis=1)
    found: list[Place] = []
    for clip in range(clips):
        wanted = head(clip)
        energy = float(np.dot(wanted, wanted))
        if energy <= 0 or len(wanted) > len(channel):
            continue
        conjugate = np.conj(np.fft.rfft(_filled(wanted)))
        parts = [
            row[:step]
            for at in range(0, len(spectra), _AT_ONCE)
            for row in np.fft.irfft(spectra[at : at + _AT_ONCE] * conjugate, _BLOCK, axis=1)
        ]
        correlation = np.concatenate(parts)[: len(channel) - len(wanted) + 1]
        powers = total[len(wanted) :] - total[: -len(wanted)]
        powers = powers[: len(correlation)]
        likeness = correlation / np.sqrt(np.maximum(powers, 1e-3 * energy) * energy)
        found += [Place(clip, at * 1000 / RATE, float(likeness[at])) for at in _peaks(likeness)]
    return found


def _filled(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.pad(signal, (0, _BLOCK - len(signal)))


def _peaks(likeness: Samples) -> Iterator[int]:
    over = np.flatnonzero(likeness > LEAST_LIKENESS)
    if len(over):
        for group in np.split(over, np.flatnonzero(np.diff(over) > APART_MS * RATE // 1000) + 1):
            yield int(group[np.argmax(likeness[group])])
