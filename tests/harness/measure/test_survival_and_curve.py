"""Survival against the textbook, the association against brute force, and drop-off by bucket from records."""

import itertools

import numpy as np
import pytest
from run_records import MS, make_call, make_turn

from harness.measure import drop_off_curve
from harness.measure.association import associate
from harness.measure.survival import estimate
from harness.model.records import Cause, Outcome

pytestmark = pytest.mark.unit


def test_survival_is_kaplan_and_meiers() -> None:
    # Freireich's 6-MP arm (1963), the textbook's example.
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    left = [
        True,
        True,
        True,
        False,
        True,
        False,
        True,
        False,
        False,
        True,
        True,
        *[False] * 3,
        True,
        True,
        *[False] * 5,
    ]
    curve = estimate([float(t) for t in times], left)
    assert [(s.at_s, s.at_risk, s.left) for s in curve.steps] == [
        (6, 21, 3), (7, 17, 1), (10, 15, 1), (13, 12, 1), (16, 11, 1), (22, 7, 1), (23, 6, 1),
    ]  # fmt: skip
    assert [round(s.share, 3) for s in curve.steps] == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert curve.steps[0].interval == pytest.approx((0.620, 0.952), abs=1e-3)
    assert (curve.median_s, curve.share_at(8), curve.share_at(40)) == (23, pytest.approx(0.807, abs=1e-3), None)


def test_survival_without_callers_knows_nothing() -> None:
    assert estimate([], []).share_at(1) is None
    assert estimate([5.0], [False]).share_at(5) == 1.0


def test_the_association_counts_pairs() -> None:
    rng = np.random.default_rng(1)
    x, left = rng.integers(1, 20, 60).astype(float), rng.random(60) < 0.3
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(x[left], x[~left])]
    found = associate(x, left)
    assert found.share == pytest.approx(np.mean(pairs))
    assert found.interval is not None
    assert found.interval[0] < found.share < found.interval[1]
    assert associate(x[:5], left[:5]).share is None


def _call(number: int, ttfbs: list[float | None], left: bool, cause: Cause = Cause.PATIENCE_SLOW_ANSWERS) -> tuple:
    outcome = Outcome.DROPPED if left else Outcome.COMPLETED
    call = make_call(f"c{number}", outcome, cause if left else Cause.NONE)
    turns = [make_turn(f"c{number}", k, t, waited_ms=2_000.0 if t is None else t) for k, t in enumerate(ttfbs, 1)]
    return call, turns


def test_callers_lie_in_the_bucket_of_their_mean() -> None:
    made = [
        *(_call(i, [520.0, 560.0], left=i == 0) for i in range(10)),
        *(_call(10 + i, [910.0], left=i < 4) for i in range(5)),
        # An unanswered turn: at least (600 + 2000) / 2, above all exact means.
        _call(20, [600.0, None], left=True, cause=Cause.PATIENCE_DEAD_AIR),
        # At least 1000 ms on average is no 500.
        _call(21, [400.0, 500.0], left=True, cause=Cause.MEDIA_LOST),
        _call(22, [], left=False),
    ]
    curve = drop_off_curve.measure([call for call, _ in made], [t for _, turns in made for t in turns])
    assert [(b.low_ms, b.n, b.n_left, b.n_at_least) for b in curve.buckets] == [(500, 10, 1, 0), (900, 5, 4, 0)]
    assert curve.buckets[0].ci95 == pytest.approx((0.0179, 0.4042), abs=1e-3)
    assert (curve.n, curve.n_unplaced, curve.n_unplaced_left, curve.unplaced_from_ms) == (16, 1, 1, 1_300)
    assert (curve.n_other_ends, curve.n_without_turns) == (1, 1)


def test_a_call_that_is_at_least_something_goes_among_those_above() -> None:
    made = [
        *(_call(i, [500.0], left=False) for i in range(5)),
        *(_call(10 + i, [2_500.0], left=False) for i in range(5)),
        _call(20, [None], left=True, cause=Cause.PATIENCE_DEAD_AIR),
    ]
    curve = drop_off_curve.measure([call for call, _ in made], [t for _, turns in made for t in turns])
    assert [(b.low_ms, b.n, b.n_left, b.n_at_least) for b in curve.buckets] == [(500, 5, 0, 0), (2_500, 6, 1, 1)]


def test_survival_is_of_the_time_on_the_line() -> None:
    calls = [
        make_call("a", connected_at_ns=0, ended_at_ns=60_000 * MS),
        make_call("b", Outcome.DROPPED, Cause.PATIENCE_DEAD_AIR, connected_at_ns=0, ended_at_ns=20_000 * MS),
        make_call("c", Outcome.DROPPED, Cause.MEDIA_LOST, connected_at_ns=0, ended_at_ns=10_000 * MS),
    ]
    curve = drop_off_curve.measure(calls, []).survival
    assert [(s.at_s, s.at_risk, s.left) for s in curve.steps] == [(20, 2, 1)]
