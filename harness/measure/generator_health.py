"""May the run's numbers be believed? Lateness, lost packets and CPU of the generator itself.

A generator that sends late, or loses packets of its own, measures itself and not the agent: such a run is void, and
each reason says the figure, the limit and what to do. Counts in a health sample are those of its own interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.measure.calls import CallCounts
from harness.measure.distribution import Sample
from harness.model.histogram import Histogram
from harness.model.records import CallRecord, Cause, HealthSample, Outcome

# One packet: a tick later than this leaves after the one that should follow it.
MAX_TICK_LATENESS_P99_MS = 20.0
MAX_ARRIVAL_LATENESS_P99_MS = 1_000.0
MAX_LOST_PACKET_RATIO = 0.001
MAX_GENERATOR_ERROR_RATIO = 0.01
# Not void: above this a few more calls would be late.
BUSY_CPU_RATIO = 0.85


@dataclass(frozen=True, slots=True)
class HealthPoint:
    """One health sample, reduced for a chart; times in ms."""

    worker: str
    at_ns: int
    calls_active: int
    tick_lateness_p99_ms: float | None
    cpu_ratio: float


@dataclass(frozen=True, slots=True)
class HealthResult:
    """The generator over the whole run; lateness in ms, CPU as shares of one core."""

    n_samples: int
    workers: int
    tick_lateness_p50_ms: float | None
    tick_lateness_p99_ms: float | None
    tick_lateness_max_ms: float | None
    n_ticks: int
    arrival_lateness: Sample
    cpu_ratio_mean: float | None
    cpu_ratio_max: float | None
    host_cpu_ratio_max: float | None
    loop_lag_max_ms: float | None
    packets: int
    lost_packets: int
    peak_calls: int
    timeline: list[HealthPoint]
    void_reasons: list[str]
    warnings: list[str]


def measure(
    samples: Sequence[HealthSample],
    calls: Sequence[CallRecord],
    counts: CallCounts,
    engine_died: bool = False,
    locust_died: bool = False,
) -> HealthResult:
    """Return the generator's health; `engine_died` or `locust_died` when the run says that this process ended early."""
    ticks = Histogram()
    for sample in samples:
        ticks.merge(Histogram.from_json(sample.tick_lateness_ms))
    arrivals = Sample(c.arrival_lateness_ms for c in calls if c.arrival_lateness_ms is not None)
    packets = sum(s.packets_sent + s.packets_received for s in samples)
    lost = sum(s.socket_drops + s.send_errors for s in samples)
    cpu = [s.cpu_ratio for s in samples]
    return HealthResult(
        n_samples=len(samples),
        workers=len({s.worker for s in samples}),
        tick_lateness_p50_ms=ticks.percentile(0.5),
        tick_lateness_p99_ms=ticks.percentile(0.99),
        tick_lateness_max_ms=ticks.maximum if ticks.n else None,
        n_ticks=ticks.n,
        arrival_lateness=arrivals,
        cpu_ratio_mean=sum(cpu) / len(cpu) if cpu else None,
        cpu_ratio_max=max(cpu, default=None),
        host_cpu_ratio_max=max((s.host_cpu_ratio for s in samples), default=None),
        loop_lag_max_ms=max((s.loop_lag_ms for s in samples), default=None),
        packets=packets,
        lost_packets=lost,
        peak_calls=_peak_calls(samples),
        timeline=[_point(s) for s in samples],
        void_reasons=[
            *_locust(locust_died, counts.lost),
            *_engine(engine_died, sum(c.cause is Cause.ENGINE_DIED for c in calls)),
            *_no_samples(samples, counts),
            *_late_ticks(ticks.percentile(0.99)),
            *_late_arrivals(arrivals),
            *_lost(lost, packets),
            *_errors(calls, counts),
        ],
        warnings=_warnings(cpu),
    )


def _point(sample: HealthSample) -> HealthPoint:
    lateness = Histogram.from_json(sample.tick_lateness_ms)
    return HealthPoint(sample.worker, sample.at_ns, sample.calls_active, lateness.percentile(0.99), sample.cpu_ratio)


def _peak_calls(samples: Sequence[HealthSample]) -> int:
    """Return the most calls at once: each worker's latest count, added up, at every sample."""
    latest: dict[str, int] = {}
    peak = 0
    for sample in sorted(samples, key=lambda s: s.at_ns):
        latest[sample.worker] = sample.calls_active
        peak = max(peak, sum(latest.values()))
    return peak


def _locust(locust_died: bool, lost: int) -> list[str]:
    if not locust_died:
        return []
    calls = f" (calls lost with it that had spoken: {lost})" if lost else ""
    return [f"the load generator (Locust) died during the run{calls}: see its log, locust.log, then run again"]


def _engine(engine_died: bool, lost: int) -> list[str]:
    if not engine_died and not lost:
        return []
    return [f"an engine process died during the run (calls lost with it: {lost}): see the engine's log, then run again"]


def _no_samples(samples: Sequence[HealthSample], counts: CallCounts) -> list[str]:
    if samples or not counts.connected:
        return []
    return [f"{counts.connected} calls connected but no health sample was written: lateness is unknown, run again"]


def _late_ticks(p99: float | None) -> list[str]:
    if p99 is None or p99 <= MAX_TICK_LATENESS_P99_MS:
        return []
    return [
        (
            f"20 ms packets left late: lateness p99 {p99:.1f} ms, limit {MAX_TICK_LATENESS_P99_MS:g} ms; "
            "place fewer calls per worker, add workers, or keep other programs off this machine"
        )
    ]


def _late_arrivals(arrivals: Sample) -> list[str]:
    p99 = arrivals.percentile(0.99)
    if p99 is None or p99.value <= MAX_ARRIVAL_LATENESS_P99_MS:
        return []
    return [
        (
            f"calls were placed late: lateness p99 {p99.value:.0f} ms, limit {MAX_ARRIVAL_LATENESS_P99_MS:g} ms; "
            "the load was lower than the scenario says: raise the call slots, add workers, or lower the arrival rate"
        )
    ]


def _lost(lost: int, packets: int) -> list[str]:
    total = packets + lost
    if not lost or lost / total <= MAX_LOST_PACKET_RATIO:
        return []
    return [
        (
            f"this machine lost {lost} of {total} packets ({lost / total:.2%}), limit {MAX_LOST_PACKET_RATIO:.1%}; "
            "raise net.core.rmem_max and net.core.wmem_max, or place fewer calls per worker"
        )
    ]


def _errors(calls: Sequence[CallRecord], counts: CallCounts) -> list[str]:
    """Return why errors in calls void a run: one call lost while it was up does, a few that could not begin do not."""
    failed = [call for call in calls if call.cause is Cause.GENERATOR_ERROR]
    if not failed:
        return []
    ratio = len(failed) / counts.placed
    if ratio <= MAX_GENERATOR_ERROR_RATIO and not any(call.outcome is Outcome.LOST for call in failed):
        return []
    first = " ".join(failed[0].detail.split())
    return [
        (
            f"{len(failed)} of {counts.placed} calls failed by an error of the generator itself (limit "
            f"{MAX_GENERATOR_ERROR_RATIO:.0%}, of calls in progress 0); first: {first:.200}: "
            "ports, descriptors or a bug to report"
        )
    ]


def _warnings(cpu: Sequence[float]) -> list[str]:
    mean = sum(cpu) / len(cpu) if cpu else 0.0
    if mean <= BUSY_CPU_RATIO:
        return []
    return [f"an engine used {mean:.0%} of its core on average: it kept time, but has no room for more calls"]
