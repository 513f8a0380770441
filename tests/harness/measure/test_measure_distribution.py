"""Censored percentiles and their intervals, against answers worked out by hand."""

import random

import pytest

from harness.measure.distribution import Estimate, Sample, interval_ranks, nearest_rank

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("q", "n", "rank"),
    [
        (0.5, 1, 1),
        (0.5, 4, 2),
        (0.5, 5, 3),
        (0.95, 20, 19),
        (0.95, 15, 15),
        (0.99, 100, 99),
        (0.99, 101, 100),
        (0.07, 100, 7),
    ],
)
def test_nearest_rank(q: float, n: int, rank: int) -> None:
    assert nearest_rank(q, n) == rank


@pytest.mark.parametrize(
    ("observed", "censored", "q", "expected"),
    [
        # No censoring: exact.
        ([30, 10, 20, 40], [], 0.5, Estimate(20, 20)),
        # The censored value lies above the median, which it cannot move.
        ([10, 20, 30], [1000], 0.5, Estimate(20, 20)),
        # The percentile falls on the censored value: only its bound is known.
        ([10, 20, 30], [1000], 0.95, Estimate(1000, None)),
        # A caller left after 5: the truth may be anywhere above, so the median is 10 or, at most, 20.
        ([10, 20, 30], [5], 0.5, Estimate(10, 20)),
        # An answer at the very bound comes first: the censored one took longer.
        ([10, 20], [10], 0.3, Estimate(10, 10)),
        # Nobody was answered.
        ([], [15000, 15000], 0.5, Estimate(15000, None)),
    ],
)
def test_percentile_with_censoring(observed: list[float], censored: list[float], q: float, expected: Estimate) -> None:
    assert Sample(observed, censored).percentile(q) == expected


def test_whatever_the_truth_is_it_lies_in_the_estimate() -> None:
    rng = random.Random(11)
    for _ in range(300):
        truth = [rng.uniform(0, 100) for _ in range(rng.randint(1, 30))]
        waits = [rng.uniform(0, 120) for _ in truth]
        sample = Sample(
            [t for t, w in zip(truth, waits, strict=True) if t <= w],
            [w for t, w in zip(truth, waits, strict=True) if t > w],
        )
        for q in (0.1, 0.5, 0.95):
            exact = Sample(truth).percentile(q)
            estimate = sample.percentile(q)
            assert exact is not None
            assert estimate is not None
            assert estimate.value <= exact.value <= (float("inf") if estimate.upper is None else estimate.upper)


def test_mean_is_a_lower_bound_as_soon_as_one_value_is_censored() -> None:
    assert Sample([1, 3]).mean() == Estimate(2, 2)
    assert Sample([1, 3], [5]).mean() == Estimate(3, None)


def test_an_empty_sample_has_no_figure() -> None:
    empty = Sample([])
    assert (empty.percentile(0.5), empty.mean(), empty.minimum(), empty.response_ratio, empty.interval(0.5)) == (
        None,
    ) * 5


@pytest.mark.parametrize(
    ("q", "n", "ranks"),
    [
        # Textbook ranks of the 95 % interval of a median.
        (0.5, 5, None),
        (0.5, 6, (1, 6)),
        (0.5, 10, (2, 9)),
        (0.5, 20, (6, 15)),
        # A p95 has an upper end once 0.95**n, the chance that all values lie below it, is at most 0.025.
        (0.95, 71, None),
    ],
)
def test_interval_ranks(q: float, n: int, ranks: tuple[int, int] | None) -> None:
    assert interval_ranks(q, n) == ranks


def test_interval_of_p95_needs_seventy_two_values() -> None:
    ranks = interval_ranks(0.95, 72)
    assert ranks is not None
    # The p95 itself is the 69th of 72.
    assert ranks[0] < 69 < ranks[1] == 72


def test_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng = random.Random(5)
    hits = 0
    for _ in range(400):
        interval = Sample([rng.random() for _ in range(25)]).interval(0.5)
        assert interval is not None
        assert interval[1] is not None
        hits += interval[0] <= 0.5 <= interval[1]
    assert hits / 400 >= 0.92


def test_interval_is_unbounded_where_censoring_leaves_it_so() -> None:
    interval = Sample(range(1, 9), [100.0, 100.0]).interval(0.5)
    assert interval == (2, None)
