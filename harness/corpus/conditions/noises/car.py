"""Inside a car on a motorway: most of it is rumble under 200 Hz, which a phone line takes out again."""

import numpy as np

from harness.corpus.conditions.noises.shaping import RATE, Samples, add, engine, falling, shaped_noise, slow

_RUMBLE = falling(90.0, 12.0)
# Wind and tyres, through the glass.
_WIND = falling(700.0, 6.0)
# Four cylinders at 2300 revolutions a minute fire 77 times a second.
_FIRING_HZ, _FIRING_WANDER_HZ = 77.0, 4.0
# Both axles cross a joint: 2.7 m apart, at 30 m/s.
_AXLES_S = 2.7 / 30
_JOINT_S = (0.9, 1.6)
_THUMP_HZ, _THUMP_DECAY_S = 48.0, 0.045


def car(count: int, rng: np.random.Generator) -> Samples:
    """Rumble, wind, engine, and the joints of the road."""
    road = shaped_noise(count, rng, _RUMBLE) * 10 ** (1.5 * slow(count, rng) / 20)
    wind = shaped_noise(count, rng, _WIND)
    return road + 0.15 * wind + 0.35 * engine(count, rng, _FIRING_HZ, _FIRING_WANDER_HZ) + _joints(count, rng)


def _joints(count: int, rng: np.random.Generator) -> Samples:
    bed = np.zeros(count)
    seconds = np.arange(round(6 * _THUMP_DECAY_S * RATE)) / RATE
    thump = np.sin(2 * np.pi * _THUMP_HZ * seconds) * np.exp(-seconds / _THUMP_DECAY_S)
    at_s = float(rng.uniform(0, _JOINT_S[1]))
    while at_s < count / RATE:
        strength = rng.uniform(1.0, 2.5)
        for axle_s in (0.0, _AXLES_S):
            add(bed, strength * thump, round((at_s + axle_s) * RATE))
        at_s += float(rng.uniform(*_JOINT_S))
    return bed
