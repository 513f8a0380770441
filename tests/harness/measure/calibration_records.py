"""A calibration without fault, for tests to change."""

from harness.measure.calibration import Calibration, Conditions, ErrorStats, Step

GOOD = Step(
    callers=100,
    connected=100,
    failed=0,
    held_s=20.0,
    error=ErrorStats(n=900, bias_ms=0.2, bias_ci95=(0.1, 0.3), p50_ms=0.2, p99_ms=0.9, p99_ci95=(0.7, 1.4), max_ms=2.0),
    error_during_setup=ErrorStats(0),
    n_missed=0,
    n_early=0,
    n_unanswered=0,
    n_mismatched=0,
    n_ticks=100_000,
    tick_lateness_p50_ms=0.1,
    tick_lateness_p99_ms=0.4,
    tick_lateness_max_ms=1.0,
    setup_tick_lateness_p99_ms=0.5,
    cpu_ratio_mean=0.2,
    cpu_ratio_max=0.3,
    memory_per_call_kib=120.0,
    setups_per_s=80.0,
    setup_p50_ms=300.0,
    setup_p99_ms=900.0,
    packets_sent=100_000,
    packets_received=100_000,
    packets_lost=0,
    responder_cpu_ratio=0.2,
    responder_tick_lateness_p99_ms=0.4,
)


def calibration(*steps):
    return Calibration("here", "2026-11-22T10:00:00.000Z", Conditions(), "compiled", "engine on CPU 0", 1, steps)
