"""Steady noise that masks speech as speech would, without words or gaps: the spectrum is ITU-T P.50's."""

import numpy as np

from harness.corpus.conditions.noises.shaping import Samples, shaped_noise

# P.50 (09/99) clause 4.1 gives the long-term spectrum of speech, in dB, as a polynomial in log10 of the frequency.
_P50 = (-376.44, 465.439, -157.745, 16.7124)
_P50_FROM_HZ, _P50_TO_HZ = 100.0, 8000.0
# P.50 says nothing beyond; speech has little there.
_BEYOND_DB_PER_OCTAVE = 12.0


def speech_shaped(count: int, rng: np.random.Generator) -> Samples:
    """Gaussian noise with the long-term average spectrum of speech."""
    return shaped_noise(count, rng, lambda hz: np.asarray(10 ** (long_term_speech_db(hz) / 20), np.float64))


def long_term_speech_db(hz: Samples) -> Samples:
    """Power density of average speech in dB at each frequency, beyond 100 Hz to 8 kHz falling 12 dB an octave."""
    x = np.log10(np.clip(hz, _P50_FROM_HZ, _P50_TO_HZ))
    octaves = np.abs(np.log2(np.maximum(hz, 1.0) / 10**x))
    return np.asarray(np.polynomial.polynomial.polyval(x, _P50) - _BEYOND_DB_PER_OCTAVE * octaves, np.float64)
