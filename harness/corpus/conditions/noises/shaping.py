"""What the kinds of noise are made of: noise with a spectrum, an engine's harmonics, things that come and go."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RATE = 48000

Samples = NDArray[np.float64]
# Amplitude at each frequency in Hz.
Gain = Callable[[Samples], Samples]

# Below this no telephone's microphone hears anything.
_LOWEST_HZ = 30.0


def shaped_noise(count: int, rng: np.random.Generator, gain: Gain) -> Samples:
    """Noise with the amplitude spectrum `gain(hz)`, RMS 1, shape (count,); its end joins its beginning."""
    hz = np.fft.rfftfreq(count, 1 / RATE).astype(np.float64)
    spectrum = np.fft.rfft(rng.standard_normal(count)) * gain(hz) * (hz > _LOWEST_HZ)
    return unit_rms(np.fft.irfft(spectrum, count))


def falling(corner_hz: float, db_per_octave: float) -> Gain:
    """Flat up to the corner, then falling."""
    power = db_per_octave / (20 * np.log10(2))
    return lambda hz: np.asarray((1 + (hz / corner_hz) ** 2) ** (-power / 2), np.float64)


def bell(centre_hz: float, width_hz: float) -> Gain:
    """Only what lies around a frequency."""
    return lambda hz: np.asarray(np.exp(-(((hz - centre_hz) / width_hz) ** 2)), np.float64)


def engine(count: int, rng: np.random.Generator, firing_hz: float, wander_hz: float) -> Samples:
    """Harmonics of a slowly wandering firing rate, RMS 1."""
    phase = 2 * np.pi * np.cumsum(firing_hz + wander_hz * slow(count, rng)) / RATE
    total, turn = np.zeros(count), np.exp(1j * phase)
    turned = np.ones(count, np.complex128)
    for k in range(1, 9):
        turned *= turn
        total += (turned * np.exp(1j * rng.uniform(0, 2 * np.pi))).imag / k
    return unit_rms(total)


def slow(count: int, rng: np.random.Generator) -> Samples:
    """Return a walk between -1 and 1 that changes within some seconds."""
    steps = np.cumsum(rng.standard_normal(count // RATE + 2))
    return np.tanh(np.interp(np.arange(count) / RATE, np.arange(len(steps)), steps))


def add(bed: Samples, sound: Samples, at: int) -> None:
    """Mix `sound` into `bed` from sample `at` on; what runs past the end is left out."""
    room = bed[at : at + len(sound)]
    room += sound[: len(room)]


def unit_rms(x: Samples) -> Samples:
    """`x` at RMS 1."""
    return np.asarray(x / np.sqrt(np.mean(x * x)), np.float64)
