"""The error of TTFB against the truth: pairing, figures, bounds, and which step stands for a run."""

from dataclasses import replace

import pytest
from calibration_records import GOOD, calibration
from run_records import MS, make_turn

from harness.measure.calibration import (
    Calibration,
    ErrorStats,
    Truth,
    TurnError,
    error_stats,
    limits_of,
    pair,
)
from harness.model.codec import from_json, to_json

pytestmark = pytest.mark.unit


def turn(call="c1", number=1, ended_ms=1_000, ttfb_ms=500.5, **fields):
    values = {"call_id": call, "turn": number, "attempt": 0, "speech_ended_at_ns": ended_ms * MS, "ttfb_ms": ttfb_ms}
    return make_turn(**{**values, **fields})


def truth(call="c1", number=1, ended_ms=1_000, ttfb_ms=500.0):
    return Truth(call, number, ended_ms * MS, int((ended_ms + ttfb_ms) * MS), ttfb_ms, 0.0)


def test_errors_pair_by_call_and_turn_and_keep_their_sign():
    turns = [turn(), turn(number=2, ended_ms=9_000, ttfb_ms=299.0), turn(call="c2")]
    told = [truth(call="c2"), truth(number=2, ended_ms=9_000, ttfb_ms=300.0), truth()]
    paired = pair(turns, told)
    assert [(e.call_id, e.error_ms) for e in paired.errors] == [("c1", 0.5), ("c1", -1.0), ("c2", 0.5)]
    assert (paired.n_missed, paired.n_early, paired.n_unanswered, paired.n_mismatched) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        pytest.param(turn(ttfb_ms=None, censored=True), "n_missed", id="answered but not heard"),
        pytest.param(turn(false_endpoint=True), "n_early", id="heard before the caller had finished"),
        pytest.param(turn(number=2), "n_unanswered", id="no such answer on record"),
        pytest.param(turn(ended_ms=3_500), "n_mismatched", id="another instant: the counts have come apart"),
    ],
)
def test_every_turn_without_an_error_is_counted_by_its_reason(given, counted):
    paired = pair([given], [truth()])
    assert not paired.errors
    names = ("n_missed", "n_early", "n_unanswered", "n_mismatched")
    assert {name: getattr(paired, name) for name in names} == {name: int(name == counted) for name in names}


@pytest.mark.parametrize(
    "given", [turn(cut=True), turn(attempt=1), turn(speech_ended_at_ns=None)], ids=["cut", "repeat", "unspoken"]
)
def test_turns_that_the_step_cut_short_are_left_out(given):
    paired = pair([given], [truth()])
    assert paired == pair([], [])


def test_figures_of_known_errors():
    errors = [TurnError(f"c{i % 50}", i, 0.3 if i % 100 else -4.0) for i in range(1_000)]
    stats = error_stats(errors)
    assert stats.n == 1_000
    assert stats.bias_ms == pytest.approx(0.3 - 4.3 / 100)
    assert stats.bias_ci95[0] < stats.bias_ms < stats.bias_ci95[1]
    # 10 of 1,000 sizes are 4.0: the 990th of them, in order, still is a small one.
    assert (stats.p50_ms, stats.p99_ms, stats.max_ms) == (0.3, 0.3, 4.0)
    assert stats.p99_ci95 == (0.3, 4.0)
    assert error_stats(errors) == stats


def test_a_few_turns_have_no_interval_and_none_no_figures():
    few = error_stats([TurnError("c1", 0, 1.0), TurnError("c1", 1, 3.0)])
    assert (few.bias_ms, few.p99_ms, few.bias_ci95, few.p99_ci95) == (2.0, 3.0, None, None)
    assert error_stats([]) == ErrorStats(0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"error": replace(GOOD.error, p99_ms=5.01)}, "TTFB error p99 5.01 ms, bound 5 ms"),
        ({"error": ErrorStats(0)}, "no turn was paired"),
        ({"tick_lateness_p99_ms": 2.1}, "tick lateness p99 2.10 ms, bound 2 ms"),
        ({"packets_lost": 1}, "lost 1 packets"),
        ({"cpu_ratio_mean": 0.91}, "91% of a core, bound 90%"),
        ({"responder_cpu_ratio": 0.95}, "it is the limit here, not the engine"),
        (
            {"responder_loop_lag_ms": 1001.0},
            "the responder was held up for 1001 ms, bound 1000 ms, and missed 0 events",
        ),
        ({"responder_overflows": 3}, "missed 3 events"),
        ({"failed": 2, "first_failure": "ice_failed: none"}, "2 of 100 calls failed; first: ice_failed: none"),
        ({"n_missed": 10}, "10 of 910 answers were not heard"),
        ({"n_mismatched": 1}, "1 turns were counted differently"),
    ],
)
def test_each_bound_is_told_with_figure_and_limit(fields, words):
    assert limits_of(GOOD, engine_cpus=1) == ()
    (told,) = limits_of(replace(GOOD, **fields), engine_cpus=1)
    assert words in told


def test_an_engine_with_two_cpus_may_use_both_and_loss_allows_a_packet():
    assert limits_of(replace(GOOD, cpu_ratio_mean=1.5), engine_cpus=4) == ()
    off_by_a_packet = replace(GOOD, error=replace(GOOD.error, p99_ms=20.6))
    assert limits_of(off_by_a_packet, 1, loss_ratio=0.02) == ()
    assert limits_of(off_by_a_packet, 1)


def test_callers_are_those_below_the_first_broken_bound():
    bad = ("late",)
    steps = (GOOD, replace(GOOD, callers=200), replace(GOOD, callers=500, limits=bad), replace(GOOD, callers=1000))
    assert calibration(*steps).callers == 200
    assert calibration(replace(GOOD, limits=bad)).callers == 0
    assert calibration(*steps).limited_by == ()
    assert calibration(*steps[:3]).limited_by == bad


@pytest.mark.parametrize(("asked", "stands"), [(0, 100), (100, 100), (101, 200), (200, 200), (201, None)])
def test_the_next_larger_step_stands_for_a_run(asked, stands):
    measured = calibration(GOOD, replace(GOOD, callers=200), replace(GOOD, callers=500, limits=("late",)))
    step = measured.step_for(asked)
    assert (step.callers if step else None) == stands


def test_a_calibration_survives_its_file():
    whole = calibration(GOOD, replace(GOOD, limits=("a", "b"), error=ErrorStats(0)))
    assert from_json(Calibration, to_json(whole)) == whole
