"""Simulated callers whose drop-off rises at a planted TTFB."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.measure.inflection import Inflection, find

Floats = NDArray[np.float64]
WAITS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "even": lambda rng, n: rng.uniform(200, 1_400, n),
    "skewed": lambda rng, n: rng.lognormal(np.log(650), 0.4, n),
    "around": lambda rng, n: np.clip(rng.normal(700, 250, n), 50, None),
    "coarse": lambda rng, n: rng.integers(2, 14, n) * 100.0,
}


def step(past: Floats) -> Floats:
    return (past >= 0).astype(float)


def ramp(width: float) -> Callable[[Floats], Floats]:
    return lambda past: np.clip(past / width, 0, 1)


def logistic(scale: float) -> Callable[[Floats], Floats]:
    return lambda past: 1 / (1 + np.exp(-past / scale))


def simulated(
    seed: int, n: int, waits: str, rise: Callable[[Floats], Floats], base: float, top: float
) -> tuple[Inflection, float]:
    """What is found of `n` callers whose drop-off rises from `base` to `top`, and where it was planted."""
    rng = np.random.default_rng([seed, n])
    planted = float(rng.integers(600, 801))
    x = WAITS[waits](rng, n)
    left = rng.random(n) < base + (top - base) * rise(x - planted)
    return find(x, left.tolist(), seed=seed), planted


def hit_ratio(seeds: int, n: int, waits: str, rise: Callable[[Floats], Floats], base: float, top: float) -> float:
    found = [simulated(seed, n, waits, rise, base, top) for seed in range(seeds)]
    hits = [
        f.bucket_ms is not None and abs(f.bucket_ms - math.floor(planted / 100) * 100) <= 100 for f, planted in found
    ]
    return float(np.mean(hits))


CASES = [
    (300, "even", step, 0.05, 0.6),
    (1_000, "skewed", step, 0.05, 0.3),
    (20_000, "even", step, 0.1, 0.15),
    (2_000, "around", step, 0.01, 0.15),
    (1_000, "coarse", step, 0.05, 0.4),
    (1_000, "even", ramp(100), 0.05, 0.4),
    (1_500, "even", ramp(200), 0.03, 0.5),
    (20_000, "skewed", ramp(200), 0.01, 0.15),
    (20_000, "even", ramp(400), 0.05, 0.4),
    (2_000, "even", logistic(30), 0.05, 0.4),
    (10_000, "skewed", logistic(50), 0.03, 0.5),
]
