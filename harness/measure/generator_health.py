"""May the run's numbers be believed? Lateness, lost packets and CPU of the generator itself.

A generator that sends late, or loses packets of its own, measures itself and not the agent: such a run is void, and
each reason says the figure, the limit and what to do. Counts in a health sample are those of its own interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.measure.calls import CallCounts
from harness.measure.distribution import Sample
from harness.model.clock import NS_PER_MS
from harness.model.histogram import Histogram
from harness.model.records import CallRecord, Cause, HealthSample, Outcome, TurnRecord

# One packet: a tick later than this leaves after the one that should follow it.
MAX_TICK_LATENESS_P99_MS = 20.0
MAX_ARRIVAL_LATENESS_P99_MS = 1_000.0
MAX_LOST_PACKET_RATIO = 0.001
MAX_GENERATOR_ERROR_RATIO = 0.01
# Arrivals carry the wall clock's time: a step of it moves every onset of the second around it.
MAX_CLOCK_STEP_MS = 20.0
# Events of a turn, recorded audio and delayed packets that found no room: one may be an onset.
MAX_OVERFLOWS = 0
# A sample is starved when half of its packets left a packet late; a turn timed across one is not to be believed.
MAX_STARVED_TURN_RATIO = 0.01
# Not void: above these a few more calls would be late, refused, or have their set-up times falsified.
BUSY_CPU_RATIO = 0.85
BUSY_HOST_RATIO = 0.95
FULL_DESCRIPTOR_RATIO = 0.9
LONG_LOOP_LAG_MS = 250.0


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
    clock_step_max_ms: float | None
    overflows: int
    # Turns timed while their engine was starved, of all that awaited an answer.
    starved_turns: int
    memory_mib_max: float | None
    descriptors_max: int | None
    descriptor_limit: int | None
    peak_calls: int
    timeline: list[HealthPoint]
    void_reasons: list[str]
    warnings: list[str]
    # How the engines' media loops ran, "compiled" or "python"; () = not said.
    media_loops: tuple[str, ...] = ()

    @property
    def is_interpreted(self) -> bool:
        """Whether any engine's media loop ran in Python itself."""
        return "python" in self.media_loops


def measure(
    samples: Sequence[HealthSample],
    calls: Sequence[CallRecord],
    counts: CallCounts,
    engine_died: bool = False,
    locust_died: bool = False,
    turns: Sequence[TurnRecord] = (),
    worker_faults: Sequence[str] = (),
    why_engine_died: str = "",
) -> HealthResult:
    """Return the generator's health; `engine_died` or `locust_died` when the run says that this process ended early."""
    ticks = Histogram()
    for sample in samples:
        ticks.merge(Histogram.from_json(sample.tick_lateness_ms))
    arrivals = Sample(c.arrival_lateness_ms for c in calls if c.arrival_lateness_ms is not None)
    packets = sum(s.packets_sent + s.packets_received for s in samples)
    lost = sum(s.socket_drops + s.send_errors for s in samples)
    cpu = [s.cpu_ratio for s in samples]
    clock_step_ms = max((s.clock_step_ms for s in samples), default=None)
    overflows = sum(s.overflows for s in samples)
    starved = _starved_turns(samples, calls, turns)
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
        clock_step_max_ms=clock_step_ms,
        overflows=overflows,
        starved_turns=starved,
        memory_mib_max=max((s.memory_mib for s in samples if s.memory_mib is not None), default=None),
        descriptors_max=max((s.descriptors for s in samples if s.descriptors is not None), default=None),
        descriptor_limit=min((s.descriptor_limit for s in samples if s.descriptor_limit is not None), default=None),
        peak_calls=_peak_calls(samples),
        timeline=[_point(s) for s in samples],
        media_loops=tuple(sorted({s.media_loop for s in samples if s.media_loop})),
        void_reasons=[
            *_locust(locust_died, counts.lost),
            # They tell of the calls lost with each, and of a worker's engine that died.
            *(worker_faults or _engine(engine_died, sum(c.cause is Cause.ENGINE_DIED for c in calls), why_engine_died)),
            *_no_samples(samples, counts),
            *_late_ticks(ticks.percentile(0.99)),
            *_starved(starved, len(turns)),
            *_late_arrivals(arrivals),
            *_lost(lost, packets),
            *_overflowed(overflows),
            *_clock_stepped(clock_step_ms),
            *_errors(calls, counts),
        ],
        warnings=_warnings(samples),
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


def _engine(engine_died: bool, lost: int, why: str) -> list[str]:
    if not engine_died and not lost:
        return []
    if why and not lost:
        return [why]
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


def _starved_turns(samples: Sequence[HealthSample], calls: Sequence[CallRecord], turns: Sequence[TurnRecord]) -> int:
    """Return how many turns were timed while half of their engine's packets left too late."""
    starved = [(s.worker, s.at_ns - round(s.interval_ms * NS_PER_MS), s.at_ns) for s in samples if _is_starved(s)]
    if not starved:
        return 0
    worker_of = {call.call_id: call.worker for call in calls}
    return sum(_overlaps(turn, worker_of.get(turn.call_id), starved) for turn in turns)


def _is_starved(sample: HealthSample) -> bool:
    median = Histogram.from_json(sample.tick_lateness_ms).percentile(0.5)
    return median is not None and median > MAX_TICK_LATENESS_P99_MS


def _overlaps(turn: TurnRecord, worker: str | None, windows: Sequence[tuple[str, int, int]]) -> bool:
    """Return whether the turn lies in a window of its worker; of a call without a record any worker may be it."""
    ended_at_ns = turn.speech_ended_at_ns or turn.speech_started_at_ns
    ends_at_ns = turn.onset_at_ns or ended_at_ns + round(turn.waited_ms * NS_PER_MS)
    return any(
        worker in {None, name} and turn.speech_started_at_ns <= last_ns and first_ns <= ends_at_ns
        for name, first_ns, last_ns in windows
    )


def _starved(starved: int, turns: int) -> list[str]:
    if not starved or starved / turns <= MAX_STARVED_TURN_RATIO:
        return []
    return [
        (
            f"{starved} of {turns} turns were timed while an engine was starved (half of its packets over "
            f"{MAX_TICK_LATENESS_P99_MS:g} ms late), limit {MAX_STARVED_TURN_RATIO:.0%}; "
            "keep other programs off this machine, or place fewer calls per worker"
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


def _overflowed(overflows: int) -> list[str]:
    if overflows <= MAX_OVERFLOWS:
        return []
    return [
        (
            f"{overflows} events, recorded packets or delayed packets found no room in the engine and were lost, limit "
            f"{MAX_OVERFLOWS}; place fewer calls per worker, record fewer of them, or lower the impairments' delay"
        )
    ]


def _clock_stepped(step_ms: float | None) -> list[str]:
    if step_ms is None or step_ms <= MAX_CLOCK_STEP_MS:
        return []
    return [
        (
            f"the wall clock stepped by {step_ms:.0f} ms within a second, limit {MAX_CLOCK_STEP_MS:g} ms, and arrivals "
            "are stamped with it; let the clock settle first (chronyc waitsync), keep NTP from stepping it during a run"
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


def _warnings(samples: Sequence[HealthSample]) -> list[str]:
    if not samples:
        return []
    cpu = sum(s.cpu_ratio for s in samples) / len(samples)
    host = sum(s.host_cpu_ratio for s in samples) / len(samples)
    lag_ms = max(s.loop_lag_ms for s in samples)
    full = max((s.descriptors / s.descriptor_limit for s in samples if s.descriptors and s.descriptor_limit), default=0)
    texts = [
        (cpu > BUSY_CPU_RATIO, f"an engine used {cpu:.0%} of its core on average, with little room for more calls"),
        (host > BUSY_HOST_RATIO, f"all cores of the machine were {host:.0%} busy on average, ours or not"),
        (
            lag_ms > LONG_LOOP_LAG_MS,
            f"set-ups may have waited {lag_ms:.0f} ms for the engine's event loop",
        ),
        (full > FULL_DESCRIPTOR_RATIO, f"an engine had {full:.0%} of its descriptors open; raise `ulimit -n`"),
    ]
    return [text for is_so, text in texts if is_so]
