"""Drop-off, error rate, set-up and greeting; and what makes a run void."""

from typing import Any

import pytest
from run_records import MS, make_call, make_health, make_turn

from harness.measure import drop_off, generator_health
from harness.measure.calls import count, error_rate, greeting_sample, setup_queue_sample, setup_sample
from harness.measure.generator_health import HealthResult
from harness.measure.run import find_expects_greeting, measure
from harness.model.records import CallRecord, Cause, HealthSample, Outcome, SetupTimes
from harness.verdict.evaluate import evaluate
from harness.verdict.thresholds import ThresholdVerdict, parse

pytestmark = pytest.mark.unit

CALLS = [
    make_call("a"),
    make_call("b"),
    make_call("c", Outcome.DROPPED, Cause.PATIENCE_SLOW_ANSWERS),
    make_call("d", Outcome.DROPPED, Cause.AGENT_HUNG_UP),
    make_call("e", Outcome.FAILED, Cause.ICE_FAILED),
    make_call("f", Outcome.INTERRUPTED, Cause.OPERATOR),
    make_call("g", Outcome.LOST, Cause.ENGINE_DIED),
    make_call("h", Outcome.FAILED, Cause.GENERATOR_ERROR),
]


def test_drop_off_leaves_out_what_was_not_the_agents() -> None:
    result = drop_off.measure(CALLS)
    assert (result.n, result.n_dropped, result.ratio) == (5, 3, 0.6)
    assert result.by_cause == {"patience_slow_answers": 1, "agent_hung_up": 1, "ice_failed": 1}
    assert drop_off.measure(CALLS[5:]).ratio is None


def test_error_rate_leaves_out_patience() -> None:
    assert error_rate(CALLS) == (0.4, 5)


def test_counts_add_up_to_the_calls_placed() -> None:
    counts = count(CALLS)
    assert (counts.placed, counts.connected, counts.generator_errors) == (8, 6, 1)
    assert counts.completed + counts.dropped + counts.failed + counts.interrupted + counts.lost == counts.placed


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Wilson 1927, as in any table: 0/10, 1/10, 5/10.
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634)],
)
def test_wilson_interval(hits: int, n: int, low: float, high: float) -> None:
    assert drop_off.wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_a_call_that_never_connected_is_censored_in_the_set_up_time() -> None:
    sample = setup_sample([make_call(), make_call("b", Outcome.FAILED, Cause.SIGNALLING_TIMEOUT)])
    assert (sample.observed, sample.censored) == ([400.0], [2_000.0])
    ours = make_call("c", Outcome.FAILED, Cause.GENERATOR_ERROR, setup=SetupTimes())
    assert setup_sample([ours]).n == 0
    # A set-up that did not wait is a sample; a record of a time without a queue is none.
    waited = [make_call(setup=SetupTimes(queue_ms=ms)) for ms in (0.0, 250.0, None)]
    assert setup_queue_sample(waited).observed == [0.0, 250.0]


def test_a_greeting_awaited_in_vain_is_censored() -> None:
    in_vain = make_call("b", Outcome.DROPPED, Cause.NO_GREETING, greeting_ms=None)
    hung_up = make_call("c", Outcome.DROPPED, Cause.MEDIA_LOST, greeting_ms=None)
    sample = greeting_sample([make_call("a"), in_vain, hung_up], [make_turn("a")])
    assert (sample.observed, sample.censored) == ([900.0], [38_600.0, 38_600.0])


def test_a_mute_agent_fails_its_greeting_threshold() -> None:
    calls = [
        make_call(f"c{i}", Outcome.DROPPED, Cause.PATIENCE_DEAD_AIR, greeting_ms=None, ended_at_ns=12_400 * MS)
        for i in range(5)
    ]
    calls += [
        make_call("operator", Outcome.INTERRUPTED, Cause.OPERATOR, greeting_ms=None),
        make_call("engine", Outcome.LOST, Cause.ENGINE_DIED, greeting_ms=None),
    ]
    run = measure(calls, [], [make_health()], expects_greeting=True)
    assert (run.greeting.observed, run.greeting.censored) == ([], [11_000.0] * 5)
    result = evaluate(parse("greeting_ms p95 < 3000"), run)
    assert (result.verdict, result.n) == (ThresholdVerdict.FAILED, 5)


def test_a_greeting_is_awaited_until_the_caller_speaks() -> None:
    calls = [make_call("a", greeting_ms=None)]
    turns = [make_turn("a", 2, speech_started_at_ns=30_000 * MS), make_turn("a", speech_started_at_ns=16_400 * MS)]
    assert greeting_sample(calls, turns, expects_greeting=True).censored == [15_000.0]


def test_an_agent_that_does_not_greet_has_no_greeting_metric() -> None:
    assert greeting_sample([make_call("a", greeting_ms=None)], [make_turn("a")]).n == 0
    assert greeting_sample([make_call("a", greeting_ms=None)], [], expects_greeting=False).n == 0


@pytest.mark.parametrize(
    ("scenario", "expects"),
    [({}, None), ({"target": {}}, True), ({"target": {"expect_greeting": False}}, False)],
)
def test_the_scenario_says_whether_a_greeting_is_awaited(scenario: dict[str, Any], expects: bool | None) -> None:
    assert find_expects_greeting(scenario) is expects


def _health(samples: list[HealthSample], calls: list[CallRecord] | None = None, died: bool = False) -> HealthResult:
    chosen = [make_call()] if calls is None else calls
    return generator_health.measure(samples, chosen, count(chosen), died)


def test_a_healthy_generator_has_no_void_reason() -> None:
    result = _health([make_health(1), make_health(2, worker="w1"), make_health(3)])
    assert result.void_reasons == []
    assert (result.n_ticks, result.workers, result.peak_calls, result.packets) == (9, 2, 4, 3_000)
    assert result.tick_lateness_p50_ms == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (_health([make_health(lateness_ms=(0.1, 30.0))]), ("lateness p99 30.0 ms", "limit 20 ms", "fewer calls")),
        (_health([make_health()], [make_call(arrival_lateness_ms=1_500.0)]), ("1500 ms", "limit 1000 ms", "workers")),
        (_health([make_health(socket_drops=3, send_errors=2)]), ("5 of 1005", "limit 0.1%", "rmem_max")),
        (_health([make_health(overflows=1)]), ("1 events", "limit 0", "fewer calls")),
        (_health([make_health(clock_step_ms=21.0)]), ("stepped by 21 ms", "limit 20 ms", "NTP")),
        (_health([]), ("no health sample",)),
        (_health([make_health()], died=True), ("engine process died",)),
        (_health([make_health()], CALLS), ("calls lost with it: 1",)),
        (_health([make_health()], CALLS), ("1 of 8 calls failed by an error of the generator",)),
    ],
)
def test_every_void_reason_names_figure_limit_and_remedy(result: HealthResult, words: tuple[str, ...]) -> None:
    assert any(all(word in reason for word in words) for reason in result.void_reasons), result.void_reasons


def test_an_error_of_the_generator_in_a_call_is_no_death_of_an_engine() -> None:
    calls = [make_call(f"c{i}") for i in range(199)]
    broken = make_call("x", Outcome.LOST, Cause.GENERATOR_ERROR, detail="OSError(24, 'Too many open files')")
    (reason,) = _health([make_health()], [*calls, broken]).void_reasons
    assert "1 of 200 calls failed by an error of the generator itself" in reason
    assert "first: OSError(24, 'Too many open files')" in reason
    few = make_call("x", Outcome.FAILED, Cause.GENERATOR_ERROR, detail="no port")
    assert _health([make_health()], [*calls, few]).void_reasons == []


def test_no_health_sample_is_no_fault_when_no_call_connected() -> None:
    assert _health([], [make_call("a", Outcome.FAILED, Cause.SIGNALLING_REFUSED)]).void_reasons == []


def test_one_lost_packet_in_thousands_does_not_void() -> None:
    result = _health([make_health(socket_drops=1)])
    assert (result.lost_packets, result.void_reasons) == (1, [])


def test_a_wall_clock_that_is_slewed_does_not_void() -> None:
    result = _health([make_health(clock_step_ms=0.5), make_health(2, clock_step_ms=0.1)])
    assert (result.clock_step_max_ms, result.void_reasons) == (0.5, [])


def _starved_second(at_s: float, worker: str = "w0") -> HealthSample:
    return make_health(at_s, (25.0,) * 60 + (0.1,) * 40, worker=worker)


def _kept_seconds(n: int) -> list[HealthSample]:
    """So many ticks in time that the starved ones do not reach the 99th percentile."""
    return [make_health(100.0 + i, (0.1,) * 1_000) for i in range(n)]


def test_a_stall_too_short_for_the_percentile_voids_when_turns_were_timed_across_it() -> None:
    # The turns of make_turn run from 6.5 s to 10.6 s.
    samples = [*_kept_seconds(10), _starved_second(9.0)]
    run = measure([make_call()], [make_turn(turn=i) for i in range(3)], samples)
    assert run.health.tick_lateness_p99_ms == pytest.approx(0.1, rel=0.02)
    (reason,) = run.health.void_reasons
    assert "3 of 3 turns were timed while an engine was starved" in reason
    assert "limit 1%" in reason
    assert "keep other programs off" in reason


@pytest.mark.parametrize(
    "second",
    # Before the turn, after it, another worker's.
    [_starved_second(6.4), _starved_second(11.7), _starved_second(9.0, "w1")],
)
def test_a_stall_that_no_turn_lay_in_does_not_void(second: HealthSample) -> None:
    run = measure([make_call()], [make_turn()], [*_kept_seconds(10), second])
    assert (run.health.starved_turns, run.health.void_reasons) == (0, [])


def test_one_starved_turn_in_hundreds_does_not_void() -> None:
    late = {"speech_started_at_ns": 60_000 * MS, "speech_ended_at_ns": 63_000 * MS, "onset_at_ns": 63_600 * MS}
    turns = [make_turn(), *(make_turn(turn=i, **late) for i in range(2, 150))]
    run = measure([make_call()], turns, [*_kept_seconds(10), _starved_second(9.0)])
    assert (run.health.starved_turns, run.health.void_reasons) == (1, [])


def test_a_busy_generator_is_warned_of_and_not_void() -> None:
    busy = make_health(cpu_ratio=0.9, host_cpu_ratio=0.99, loop_lag_ms=300.0, descriptors=95, descriptor_limit=100)
    result = _health([busy])
    assert result.void_reasons == []
    assert [w.split()[0] for w in result.warnings] == ["an", "all", "set-ups", "an"]
    assert _health([make_health(descriptors=50, descriptor_limit=100)]).warnings == []
