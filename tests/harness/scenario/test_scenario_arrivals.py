"""Arrival schedules: due times are a function of rate, distribution and seed."""

import itertools
import math
import statistics

import pytest

from harness.scenario.arrivals import Stage, due_times_ms

pytestmark = pytest.mark.unit


def test_uniform_arrivals_are_evenly_spaced_from_the_start():
    assert due_times_ms([Stage(60, 10, 10)], "uniform", 1, 100) == pytest.approx([i * 6000.0 for i in range(10)])


def test_an_unbounded_stage_ends_by_the_number_of_calls():
    assert due_times_ms([Stage(math.inf, 8.5, 8.5)], "uniform", 1, 3) == pytest.approx([0, 60_000 / 8.5, 120_000 / 8.5])


def test_a_ramp_places_call_k_where_the_area_under_the_rate_is_k():
    # r(t) = t per minute and second: k calls by t = sqrt(120 k).
    times = due_times_ms([Stage(60, 0, 60)], "uniform", 1, 100)
    assert len(times) == 30
    assert times == pytest.approx([math.sqrt(120 * k) * 1000 for k in range(30)])


def test_a_falling_ramp_mirrors_a_rising_one():
    rising = due_times_ms([Stage(60, 0, 60)], "uniform", 1, 100)
    falling = due_times_ms([Stage(60, 60, 0)], "uniform", 1, 100)
    assert falling[1:] == pytest.approx([60_000 - t for t in reversed(rising[1:])])


def test_stages_follow_each_other_and_a_silent_one_places_nothing():
    times = due_times_ms([Stage(10, 60, 60), Stage(30, 0, 0), Stage(10, 60, 60)], "uniform", 1, 100)
    assert len(times) == 20
    assert not [t for t in times if 10_000 <= t < 40_000]
    assert times[10] == pytest.approx(40_000)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process():
    times = due_times_ms([Stage(6000, 60, 60)], "poisson", 3, 10**6)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    # 6,000 expected; four standard deviations.
    assert abs(len(times) - 6000) < 4 * math.sqrt(6000)
    assert statistics.mean(gaps) == pytest.approx(1000, rel=0.06)
    assert statistics.stdev(gaps) == pytest.approx(1000, rel=0.08)


def test_poisson_on_a_ramp_follows_the_rate():
    times = due_times_ms([Stage(600, 0, 120)], "poisson", 5, 10**6)
    early = sum(t < 300_000 for t in times)
    # A quarter of the calls fall into the first half.
    assert early / len(times) == pytest.approx(0.25, abs=0.06)


def test_equal_seeds_give_equal_times_and_others_do_not():
    stages = [Stage(60, 30, 90)]
    assert due_times_ms(stages, "poisson", 7, 100) == due_times_ms(stages, "poisson", 7, 100)
    assert due_times_ms(stages, "poisson", 7, 100) != due_times_ms(stages, "poisson", 8, 100)
    times = due_times_ms(stages, "poisson", 7, 100)
    assert times == sorted(times)
    assert due_times_ms(stages, "poisson", 7, 5) == times[:5]
