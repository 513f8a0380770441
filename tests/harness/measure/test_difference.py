"""Differences of two groups of calls: right as often as said, silent where there is too little, open when censored."""

import math
import random

import pytest

from harness.measure.difference import (
    Difference,
    Group,
    least_samples,
    of_pooled,
    of_quantiles,
    of_shares,
)

pytestmark = pytest.mark.unit


def group(rng, mean_ms, calls=30, turns=4, unanswered=0.0, stories=None):
    """Calls whose turns are alike: one agent is slow with one caller. `stories` are those of several groups, in ms."""
    spans = {}
    for i in range(calls):
        story, of_call = (object(), rng.gauss(0, 60)) if stories is None else (i, stories[i])
        values = [mean_ms + of_call + rng.gauss(0, 30) for _ in range(turns)]
        spans[story] = [(3_000.0, math.inf) if rng.random() < unanswered else (v, v) for v in values]
    return Group(spans)


def median(first, second, seed=1):
    return of_quantiles(first, second, [0.5], seed)[0]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = random.Random(4)
    found = [median(group(rng, 800), group(rng, 900), seed) for seed in range(60)]
    assert sum(d.low <= 100 <= d.high for d in found) >= 52
    assert all(d.low <= d.value <= d.high for d in found)
    # Calls are drawn whole: an interval from turns taken one by one would be half as wide, and wrong as often.
    assert sum(d.high - d.low for d in found) / 60 > 50


def test_two_like_groups_show_no_difference_and_two_unlike_ones_do():
    rng = random.Random(5)
    assert not median(group(rng, 800), group(rng, 800)).is_shown
    slower = median(group(rng, 800), group(rng, 1_000))
    assert slower.is_shown
    assert slower.low > 0
    assert median(group(rng, 1_000), group(rng, 800)).high < 0


def test_stories_told_to_both_are_compared_to_themselves():
    rng = random.Random(11)
    stories = [rng.gauss(0, 400) for _ in range(40)]
    first = group(rng, 1_500, calls=40, stories=stories)
    paired = median(first, group(rng, 1_700, calls=36, stories=stories))
    alone = median(first, group(rng, 1_700, calls=36, stories=None))
    assert paired.is_shown
    assert paired.low > 0
    assert paired.high - paired.low < (alone.high - alone.low) / 2
    hits = {i: (2 * (i % 7), 40) for i in range(40)}
    worse = {i: (2 * (i % 7) + 1, 40) for i in range(30)}
    assert of_pooled(hits, worse).is_shown
    assert of_pooled(hits, {f"other {i}": one for i, one in worse.items()}).low < 0


def test_the_same_seed_says_the_same():
    rng = random.Random(6)
    first, second = group(rng, 800), group(rng, 900)
    assert median(first, second, 3) == median(first, second, 3)
    assert median(first, second, 3) != median(first, second, 4)


def test_the_value_is_the_difference_of_the_nearest_ranks():
    first = Group({v: [(v, v)] for v in (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)})
    second = Group({v: [(v, v)] for v in (110.0, 120.0, 135.0, 140.0, 150.0, 160.0)})
    p50, p95 = of_quantiles(first, second, [0.5, 0.95])
    assert (p50.value, p95.value) == (105.0, 100.0)
    assert p50.low is not None
    assert (p95.low, p95.high) == (None, None)
    assert "6 samples, at least 72 are needed" in p95.why


@pytest.mark.parametrize(("q", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.05, 72)])
def test_a_quantile_needs_as_much_as_its_own_interval(q, needed):
    from harness.measure.distribution import interval_ranks

    assert least_samples(q) == needed
    assert interval_ranks(q, needed) is not None
    assert interval_ranks(q, needed - 1) is None


def test_few_calls_are_not_enough_however_many_turns_they_have():
    rng = random.Random(7)
    found = median(group(rng, 800, calls=4, turns=30), group(rng, 900))
    assert found.value is not None
    assert found.low is None
    assert found.why == "not enough data: 4 calls, at least 5 are needed"


def test_unanswered_turns_open_the_interval_and_never_narrow_it():
    rng = random.Random(8)
    answered = group(rng, 800)
    found = of_quantiles(answered, group(random.Random(9), 900, unanswered=0.2), [0.5, 0.95])
    assert found[0].value is not None
    assert found[1].value is None
    assert found[1].high is None or math.isinf(found[1].high)
    # Nobody answered the second at all: it is slower by at least the wait.
    silent = median(answered, group(rng, 900, unanswered=1.0))
    assert silent.value is None
    assert silent.low > 1_900
    assert math.isinf(silent.high)
    # Both: nothing can be said of either end.
    nothing = median(group(rng, 800, unanswered=1.0), group(rng, 800, unanswered=1.0))
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)
    assert not nothing.is_shown


def test_what_was_not_measured_on_both_has_no_difference():
    rng = random.Random(10)
    assert median(group(rng, 800), Group({1: [], 2: []})) == Difference(None, why="not measured on both")
    assert of_pooled({1: (1, 10)}, {}).value is None
    assert of_shares((0, 0), (3, 9)).value is None


def test_word_errors_are_pooled_by_call():
    found = of_pooled(dict.fromkeys(range(12), (1, 20)), dict.fromkeys("abcdefghijkl", (4, 20)))
    assert found.value == pytest.approx(0.15)
    assert found.low == found.high == pytest.approx(0.15)
    few = of_pooled(dict.fromkeys(range(4), (1, 20)), dict.fromkeys(range(12), (4, 20)))
    assert (few.value, few.low) == (pytest.approx(0.15), None)
    assert "4 calls" in few.why


def test_shares_after_newcombe():
    # The worked example of the paper's table II, row (a): 56/70 and 48/80, method 10.
    found = of_shares((48, 80), (56, 70))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert found.is_shown
    # Nothing dropped on either side is no proof of equality.
    none = of_shares((0, 12), (0, 12))
    assert none.value == 0
    assert none.low < -0.2
    assert none.high > 0.2
    assert of_shares((0, 4), (0, 12)).why == "not enough data: 4 samples, at least 5 are needed"
