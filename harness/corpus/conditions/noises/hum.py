"""Mains hum: the frequency of the mains and its harmonics, as a bad earth couples them into a microphone's cable."""

import numpy as np

from harness.corpus.conditions.noises.shaping import RATE, Samples, slow

# Grids keep their frequency to about this.
_WANDER_HZ = 0.03
_HIGHEST_HZ = 3000.0
# Iron in saturation makes odd harmonics, a rectifier even ones.
_EVEN_SHARE = 0.4


def hum(count: int, rng: np.random.Generator, mains_hz: int) -> Samples:
    """Fundamental and harmonics up to 3 kHz; the k-th one is 1/k as strong, an even one 0.4 of that."""
    phase = 2 * np.pi * np.cumsum(mains_hz + _WANDER_HZ * slow(count, rng)) / RATE
    total, turn = np.zeros(count), np.exp(1j * phase)
    turned = np.ones(count, np.complex128)
    for k in range(1, int(_HIGHEST_HZ / mains_hz) + 1):
        turned *= turn
        strength = (1.0 if k % 2 else _EVEN_SHARE) / k
        total += strength * (turned * np.exp(1j * rng.uniform(0, 2 * np.pi))).imag
    return total
