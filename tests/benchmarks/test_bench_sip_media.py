"""What a step of SIP calls with audio says, and what speaks against it."""

import pytest

from benchmarks.failure import BenchmarkError
from benchmarks.sip_media import of_step
from harness.measure.calibration import ErrorStats, Step

pytestmark = pytest.mark.unit


def step(**changes):
    values = dict.fromkeys(Step.__dataclass_fields__)
    plain = {"callers": 1000, "connected": 1000, "failed": 0, "held_s": 10.0, "n_missed": 0, "first_failure": ""}
    timed = {"error": ErrorStats(500, -0.001, p99_ms=0.026), "tick_lateness_p99_ms": 0.8, "cpu_ratio_mean": 0.4}
    packets = {"packets_sent": 500_000, "packets_received": 500_000, "packets_lost": 0, "limits": ()}
    return Step(**{**values, **plain, **timed, **packets, **changes})


def test_calls_per_core_are_those_at_the_cpu_time_they_took():
    measured = of_step(step())
    assert measured.value == 2500
    assert measured.details["flags"] == []
    assert measured.details["turns"] == "500 turns timed, TTFB off by -0.001 ms, p99 0.026; ticks late by 0.80 ms p99"


def test_what_was_lost_is_told():
    lost = of_step(step(failed=2, first_failure="sip_timeout: nobody", packets_lost=7, n_missed=3, limits=("p99",)))
    assert lost.details["flags"] == [
        "p99",
        "2 calls failed (sip_timeout: nobody)",
        "7 of 1,000,000 packets lost",
        "3 answers missed",
    ]


def test_what_was_not_measured_is_not_made_up():
    silent = of_step(step(error=ErrorStats(0)))
    assert silent.details["turns"] == "TTFB not measured: no turn could be held against the truth"
    with pytest.raises(BenchmarkError, match="CPU time"):
        of_step(step(cpu_ratio_mean=None))
