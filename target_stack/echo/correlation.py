"""Where in what the agent has said a piece of what it hears lies: normalised cross-correlation of whitened signals.

Speech is mostly a few strong harmonics, which correlate with any other voice of about the same pitch. Whitening (here:
the spectrum of both raised to a small power, as in the generalised cross-correlation of Knapp and Carter, IEEE Trans.
ASSP 24(4), 1976) leaves the fine structure, which only a copy shares.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Of the spectrum's magnitude that is left: 0 is GCC-PHAT, which noise and codecs blur; 1 does not whiten at all.
_KEPT = 0.3


@dataclass(frozen=True, slots=True)
class Match:
    """`lag`: how many samples ago, counted from the piece's end, that was said; `strength` 0 to 1.

    `gain`: amplitude of what is heard over that of what was said, where they are the same.
    """

    lag: int
    strength: float
    gain: float


def best_match(heard: Floats, said: Floats) -> Match | None:
    """Find `heard` in `said`, the longer one, whose last sample was said when the last one of `heard` was heard.

    None where either is silent. Lags run from 0 to len(said) - len(heard).
    """
    size = _transform_size(len(said) + len(heard) - 1)
    first, second = _whitened(heard, size), _whitened(said, size)
    if first is None or second is None:
        return None
    products = np.fft.irfft(second * np.conj(first), size)[: len(said) - len(heard) + 1]
    flat_heard, flat_said = np.fft.irfft(first, size)[: len(heard)], np.fft.irfft(second, size)[: len(said)]
    sums = np.concatenate(([0.0], np.cumsum(flat_said**2)))
    energies = sums[len(heard) :] - sums[: -len(heard)]
    # Where little was said nothing can be found, however alike it is.
    floor = 0.02 * float(energies.max())
    strengths = products / np.sqrt(float(np.dot(flat_heard, flat_heard)) * np.maximum(energies, floor) + 1e-12)
    place = int(np.argmax(strengths))
    there = said[place : place + len(heard)]
    gain = max(0.0, float(np.dot(heard, there)) / (float(np.dot(there, there)) + 1e-9))
    return Match(len(said) - len(heard) - place, float(strengths[place]), gain)


def _transform_size(least: int) -> int:
    """Return the least of 5, 6 or 8 times a power of 2 that is not below `least`: such sizes transform fast."""
    power = 1 << max(0, (least - 1).bit_length() - 3)
    return next(times * power for times in (5, 6, 8) if times * power >= least)


def _whitened(signal: Floats, size: int) -> npt.NDArray[np.complex128] | None:
    spectrum = np.fft.rfft(signal, size)
    magnitudes = np.abs(spectrum)
    loudest = float(magnitudes.max())
    if loudest <= 0:
        return None
    # What is 60 dB below the loudest is noise, and is not raised.
    whitened: npt.NDArray[np.complex128] = spectrum * np.maximum(magnitudes, 1e-3 * loudest) ** (_KEPT - 1)
    return whitened
