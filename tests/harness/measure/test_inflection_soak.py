"""test_inflection.py over hundreds of seeds: pytest --soak tests/harness/measure/test_inflection_soak.py (2 min)."""

from collections.abc import Callable

import numpy as np
import pytest
from inflection_callers import CASES, WAITS, Floats, hit_ratio, simulated, step

pytestmark = pytest.mark.soak


@pytest.mark.parametrize(("n", "waits", "rise", "base", "top"), CASES)
def test_a_planted_inflection_is_found_in_95_of_100_seeds(
    n: int, waits: str, rise: Callable[[Floats], Floats], base: float, top: float
) -> None:
    assert hit_ratio(400, n, waits, rise, base, top) >= 0.95


@pytest.mark.parametrize("n", [300, 1_000, 5_000, 20_000])
@pytest.mark.parametrize("base", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("waits", WAITS)
def test_flat_data_show_none_in_95_of_100_seeds(n: int, base: float, waits: str) -> None:
    found = [simulated(seed, n, waits, step, base, base)[0] for seed in range(200)]
    assert np.mean([f.inflection_ms is None for f in found]) >= 0.95
