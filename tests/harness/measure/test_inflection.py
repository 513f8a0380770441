"""A planted inflection is found within one 100 ms bucket, and none is found where there is none: over many seeds."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from inflection_callers import CASES, Floats, hit_ratio, simulated, step

from harness.measure.at_least import place
from harness.measure.inflection import find

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("n", "waits", "rise", "base", "top"), CASES)
def test_a_planted_inflection_is_found(
    n: int, waits: str, rise: Callable[[Floats], Floats], base: float, top: float
) -> None:
    assert hit_ratio(20, n, waits, rise, base, top) >= 0.95


@pytest.mark.parametrize(
    ("n", "waits", "base"), [(300, "even", 0.1), (1_000, "skewed", 0.05), (20_000, "around", 0.03)]
)
def test_none_is_found_where_drop_off_is_flat(n: int, waits: str, base: float) -> None:
    found = [simulated(seed, n, waits, step, base, base)[0] for seed in range(40)]
    assert np.mean([f.inflection_ms is None for f in found]) >= 0.95


def test_a_falling_rate_is_no_inflection() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(200, 1_400, 3_000)
    found = find(x, (rng.random(3_000) < np.where(x < 700, 0.4, 0.05)).tolist())
    assert found.inflection_ms is None
    assert "does not rise" in found.why


def test_a_slope_all_along_is_no_inflection() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(200, 1_400, 20_000)
    found = find(x, (rng.random(20_000) < 1 / (1 + np.exp(3.5 - x / 400))).tolist())
    assert found.inflection_ms is None
    assert "without a bend" in found.why


@pytest.mark.parametrize(
    ("n", "left", "why"), [(10, 3, "at least 50"), (100, 2, "left early"), (100, 98, "stayed"), (0, 0, "0 calls")]
)
def test_too_few_callers_are_said_to_be(n: int, left: int, why: str) -> None:
    found = find([500.0 + i for i in range(n)], [i < left for i in range(n)])
    assert (found.inflection_ms, found.p_value) == (None, None)
    assert why in found.why


def test_equal_input_and_seed_give_an_equal_answer() -> None:
    assert simulated(5, 1_000, "even", step, 0.05, 0.4) == simulated(5, 1_000, "even", step, 0.05, 0.4)


@pytest.mark.parametrize("values", [[float("nan")], [float("inf")], [1.0, 2.0]])
def test_what_is_no_sample_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"legal|finite"):
        find(values, [True])


def test_callers_that_left_while_they_waited_do_not_move_the_inflection_down() -> None:
    hits = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.uniform(200, 1_600, 3_000)
        left = rng.random(3_000) < np.where(x < 700, 0.05, 0.4)
        # Half of those that leave do so before the answer comes: all that is known is how long they had waited.
        early = left & (rng.random(3_000) < 0.5)
        seen = np.where(early, x * rng.uniform(0.3, 1.0, 3_000), x)
        found = find(seen, left.tolist(), early.tolist())
        assert found.n_at_least == early.sum() - found.n_unplaced
        hits.append(found.inflection_ms is not None and abs(found.inflection_ms - 700) <= 100)
    assert np.mean(hits) >= 0.95


def test_a_bound_is_placed_above_itself_as_the_exact_values_lie() -> None:
    values = [100.0, 200.0, 300.0, 400.0, 150.0, 150.0, 450.0]
    placed = place(values, [False] * 4 + [True] * 3)
    assert placed[:4].tolist() == values[:4]
    assert all(value in {200.0, 300.0, 400.0} for value in placed[4:6])
    assert len(set(placed[4:6].tolist())) == 2
    # Nothing exact lies above it.
    assert math.isnan(placed[6])
