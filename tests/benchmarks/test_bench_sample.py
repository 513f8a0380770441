"""What is derived from one measured window, and what speaks against it."""

import pytest

from benchmarks.accounting import CpuReading
from benchmarks.sample import Sample

pytestmark = pytest.mark.unit


def sample(**kwargs):
    values = {
        "calls": 100,
        "seconds": 10.0,
        "counted_s": 10.0,
        "cpu_s": 2.5,
        "core_busy_s": 2.5,
        "sent": 50_000,
        "received": 50_000,
        "udp_delivered": 100_000,
        "udp_dropped": 0,
    }
    return Sample(**{**values, **kwargs})


def test_calls_per_core_is_calls_over_cpu_seconds_per_second():
    whole = sample()
    assert whole.calls_per_core == 400
    assert whole.calls_per_core_by_packets == 400
    assert whole.fair_calls_per_core == 400
    assert whole.us_per_packet == 25
    assert whole.flags == []


def test_a_caller_that_falls_behind_is_flagged_and_counted_by_its_packets():
    behind = sample(sent=42_500, received=42_500)
    assert behind.calls_per_core == 400
    assert behind.calls_per_core_by_packets == 340
    assert behind.fair_calls_per_core == 340
    assert behind.flags == ["sent only 85.0% of what was due"]


def test_packet_counts_are_held_against_the_time_between_their_readings():
    longer = sample(counted_s=10.1, sent=50_500, received=50_500)
    assert longer.sent_ratio == pytest.approx(1.0)
    assert longer.us_per_packet == pytest.approx(25)


def test_lost_echoes_and_foreign_work_are_flagged():
    doubtful = sample(received=40_000, core_busy_s=4.5)
    assert doubtful.flags == ["only 80.0% of what was sent came back", "others used 20% of the callers' core"]


def test_a_loop_that_was_late_is_flagged():
    assert sample(more={"tick_lateness_ms": {"p50": 0.1, "p99": 1.9, "max": 30.0}}).flags == []
    late = sample(more={"tick_lateness_ms": {"p50": 62.0, "p99": 186.4, "max": 202.0}})
    assert late.flags == ["packets left late: p99 186 ms"]


def test_the_turns_that_were_timed_are_told_beside_the_figure():
    assert sample().turns == ""
    more = {"turns_spoken": 1200, "turns_timed": 1198, "ttfb_ms": {"median": 0.3, "p99": 0.52, "min": 0.1, "max": 0.6}}
    assert sample(more=more).turns == "1,198 of 1,200 turns timed, TTFB of the echo 0.30 ms, p99 0.52"


def test_a_peer_that_counts_nothing_is_not_judged_by_packets():
    unknown = sample(sent=None, received=None, core_busy_s=None)
    assert unknown.sent_ratio is unknown.echoed_ratio is unknown.calls_per_core_by_packets is None
    assert unknown.us_per_packet is None
    assert unknown.flags == []
    assert unknown.fair_calls_per_core == 400
    assert unknown.as_json()["calls_per_core"] == 400


def test_cpu_time_of_threads_that_ended_meanwhile_is_not_lost():
    before = CpuReading({1: 5_000_000, 2: 9_000_000}, 10_000_000)
    assert CpuReading({1: 6_000_000, 2: 9_500_000, 3: 400_000}, 20_000_000).since(before) == 1_900_000
    # Thread 2 took its 9 ms along: the ticks still have them.
    assert CpuReading({1: 6_000_000}, 20_000_000).since(before) == 10_000_000
