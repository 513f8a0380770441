"""A caller at the roadside: road and tyre noise, an engine idling, vehicles that come and go."""

import numpy as np

from harness.corpus.conditions.noises.shaping import RATE, Samples, bell, engine, falling, shaped_noise

_ROAD = falling(250.0, 6.0)
# Gone above what tyres and wind make.
_ROAD_TOP_HZ = 9000.0
_TYRES = bell(1000.0, 700.0)
_SECONDS_A_VEHICLE = 3


def street(count: int, rng: np.random.Generator) -> Samples:
    """Road noise, the tyres of vehicles passing, and an engine idling near 45 Hz."""
    road = shaped_noise(count, rng, lambda hz: _ROAD(hz) * (hz < _ROAD_TOP_HZ))
    tyres = shaped_noise(count, rng, _TYRES)
    traffic = 0.35 + _passing(count, rng)
    return road * (0.6 + 0.4 * traffic) + 0.5 * tyres * traffic + 0.3 * engine(count, rng, 45.0, 3.0)


def _passing(count: int, rng: np.random.Generator) -> Samples:
    """Loudness of vehicles driving by: one about every 3 s, each a bell of 0.6 to 1.5 s."""
    seconds = np.arange(count) / RATE
    loudness = np.zeros(count)
    for _ in range(max(1, int(seconds[-1] / _SECONDS_A_VEHICLE))):
        centre, width, strength = rng.uniform(0, seconds[-1]), rng.uniform(0.6, 1.5), rng.uniform(0.3, 1.0)
        loudness += strength * np.exp(-(((seconds - centre) / width) ** 2))
    return loudness
