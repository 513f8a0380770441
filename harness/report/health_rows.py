"""The generator's health as rows of a table: what was watched, its figure, and the limit beyond which a run is void."""

from harness.measure.generator_health import (
    MAX_ARRIVAL_LATENESS_P99_MS,
    MAX_CLOCK_STEP_MS,
    MAX_LOST_PACKET_RATIO,
    MAX_OVERFLOWS,
    MAX_STARVED_TURN_RATIO,
    MAX_TICK_LATENESS_P99_MS,
    HealthResult,
)
from harness.report.words import NOT_MEASURED, bounded_ms, ms

_WATCHED = "watched"


def health_rows(health: HealthResult) -> list[tuple[str, str, str]]:
    """Return (what, figure, limit) of the generator."""
    return [*_timing_rows(health), *_loss_rows(health), *_resource_rows(health)]


def _timing_rows(health: HealthResult) -> list[tuple[str, str, str]]:
    arrivals = health.arrival_lateness.percentile(0.99)
    tick = step = NOT_MEASURED
    if health.tick_lateness_p99_ms is not None:
        tick = f"{ms(health.tick_lateness_p99_ms)} p99, {ms(health.tick_lateness_max_ms)} worst of {health.n_ticks:,}"
    if health.clock_step_max_ms is not None:
        step = f"{health.clock_step_max_ms:.3f} ms within a second"
    return [
        ("20 ms packets sent late", tick, f"p99 {MAX_TICK_LATENESS_P99_MS:g} ms"),
        ("Turns timed while starved", str(health.starved_turns), f"{MAX_STARVED_TURN_RATIO:.0%} of the turns"),
        (
            "Calls placed late",
            f"{bounded_ms(arrivals)} p99" if arrivals else NOT_MEASURED,
            f"p99 {MAX_ARRIVAL_LATENESS_P99_MS:g} ms",
        ),
        ("Step of the wall clock, largest", step, f"{MAX_CLOCK_STEP_MS:g} ms"),
    ]


def _loss_rows(health: HealthResult) -> list[tuple[str, str, str]]:
    share = health.lost_packets / max(1, health.packets + health.lost_packets)
    return [
        (
            "Packets this machine lost",
            f"{health.lost_packets} of {health.packets:,} ({share:.2%})",
            f"{MAX_LOST_PACKET_RATIO:.1%}",
        ),
        ("Events and packets without room", str(health.overflows), str(MAX_OVERFLOWS)),
    ]


def _resource_rows(health: HealthResult) -> list[tuple[str, str, str]]:
    cpu = memory = files = NOT_MEASURED
    names = {"python": "interpreted"}
    loops = " and ".join(names.get(mode, mode) for mode in health.media_loops)
    if health.cpu_ratio_mean is not None and health.cpu_ratio_max is not None:
        cpu = f"{health.cpu_ratio_mean:.0%} mean, {health.cpu_ratio_max:.0%} peak"
    if health.memory_mib_max is not None:
        memory = f"{health.memory_mib_max:,.0f} MiB"
    if health.descriptors_max is not None and health.descriptor_limit is not None:
        files = f"{health.descriptors_max:,} of {health.descriptor_limit:,}"
    return [
        ("Media loop", loops or NOT_MEASURED, _WATCHED),
        ("Engine CPU, one core", cpu, _WATCHED),
        ("Engine memory, peak", memory, _WATCHED),
        ("Open files of an engine, peak", files, _WATCHED),
        ("Calls at once, peak", str(health.peak_calls) if health.n_samples else NOT_MEASURED, _WATCHED),
    ]
