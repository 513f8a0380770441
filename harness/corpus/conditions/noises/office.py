"""An office: air conditioning, the fan of a computer, keyboards in bursts."""

import numpy as np

from harness.corpus.conditions.noises.shaping import RATE, Samples, add, bell, shaped_noise, slow, unit_rms

# The neutral spectrum of ventilation falls 5 dB an octave in octave bands (Blazier's RC curves), so 8 dB in density.
_VENTILATION_DB_PER_OCTAVE = 8.0
_VENTILATION_FROM_HZ = 31.5
# Blades passing: a tone and its octave.
_FAN_HZ = 118.0
_KEY_BAND = bell(3200.0, 1800.0)
_KEY_DECAY_S = 0.004
# A key is pressed every 80 to 260 ms within a burst of typing, and comes up again 60 to 110 ms later.
_KEY_S, _KEY_UP_S = (0.08, 0.26), (0.06, 0.11)
_KEYS_IN_BURST, _PAUSE_S = (6, 25), (0.8, 3.0)
_KEY_PEAK = 2.0


def office(count: int, rng: np.random.Generator) -> Samples:
    """Ventilation, fan and typing."""
    air = shaped_noise(count, rng, _ventilation) * 10 ** (0.7 * slow(count, rng) / 20)
    seconds = np.arange(count) / RATE
    fan = sum(np.sin(2 * np.pi * k * _FAN_HZ * seconds + rng.uniform(0, 6)) / k for k in (1, 2))
    return air + 0.15 * unit_rms(np.asarray(fan, np.float64)) + _typing(count, rng)


def _ventilation(hz: Samples) -> Samples:
    octaves = np.log2(np.maximum(hz, _VENTILATION_FROM_HZ) / _VENTILATION_FROM_HZ)
    return np.asarray(10 ** (-_VENTILATION_DB_PER_OCTAVE * octaves / 20), np.float64)


def _typing(count: int, rng: np.random.Generator) -> Samples:
    bed = np.zeros(count)
    seconds = np.arange(round(6 * _KEY_DECAY_S * RATE)) / RATE
    decay = np.exp(-seconds / _KEY_DECAY_S)
    end_s, at_s = count / RATE, float(rng.uniform(0, 1))
    while at_s < end_s:
        for _ in range(int(rng.integers(*_KEYS_IN_BURST))):
            for when_s, strength in ((at_s, 1.0), (at_s + rng.uniform(*_KEY_UP_S), 0.5)):
                click = shaped_noise(len(decay), rng, _KEY_BAND) * decay
                add(bed, _KEY_PEAK * strength * rng.uniform(0.4, 1.0) * click, round(when_s * RATE))
            at_s += float(rng.uniform(*_KEY_S))
        at_s += float(rng.uniform(*_PAUSE_S))
    return bed
