"""How true is our own TTFB? The caller's figures held against the reference responder's truth, turn by turn.

    error = TTFB as the caller measured it - TTFB as the responder knows it

The caller's TTFB ends with its kernel's receive stamp of the answer and begins with its own send stamp; the
responder's begins with its kernel's receive stamp of the caller's last voiced packet and ends with its own send stamp.
So the error is the sum of both ways through the network and of every stamp's own error: a stamp that is systematically
early or late on both sides adds up here, it cannot cancel out. On one host the network's part is some tens of us.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.distribution import interval_ranks, nearest_rank
from harness.model.clock import NS_PER_MS, ms_between
from harness.model.records import TurnRecord

SCHEMA_VERSION = 1
MAX_ERROR_P99_MS = 5.0
# An onset whose packet was lost is dated by the next one.
LOSS_ALLOWANCE_MS = 20.0
MAX_TICK_LATENESS_P99_MS = 2.0
MAX_CPU_RATIO = 0.9
# A second late, and callers begin to give up what would still have been answered.
MAX_RESPONDER_LAG_MS = 1000.0
# Of the turns that the responder answered.
MAX_MISSED_RATIO = 0.01
P99 = 0.99
# Two records further apart than this are of two different turns, whatever their numbers say.
_SAME_TURN_MS = 1_000.0
_RESAMPLES = 1_000
# Below this many calls a bootstrap over calls says more about luck than about the error.
_MIN_CALLS_FOR_INTERVAL = 5
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Truth:
    """One answer as the responder knows it; CLOCK_MONOTONIC ns of its host."""

    call: str
    # 1 for the first answer of the call.
    turn: int
    # Kernel receive time of the packet with the caller's last voiced sample.
    speech_ended_at_ns: int
    # Real send time of the packet with the answer's first voiced sample, whether it was then lost on purpose or not.
    onset_sent_at_ns: int
    planned_delay_ms: float
    leading_silence_ms: float

    @property
    def ttfb_ms(self) -> float:
        """What a perfect caller on this host would measure."""
        return (self.onset_sent_at_ns - self.speech_ended_at_ns) / NS_PER_MS


@dataclass(frozen=True, slots=True)
class TurnError:
    """One turn that both sides have on record; `at_ns` is when the user's speech ended."""

    call_id: str
    at_ns: int
    error_ms: float


@dataclass(frozen=True, slots=True)
class Pairing:
    """The turns of a step, paired with the truth by call id and turn."""

    errors: list[TurnError]
    # Answered by the responder, not heard by the caller.
    n_missed: int = 0
    # Heard by the caller before its own speech had ended.
    n_early: int = 0
    # Spoken to the end, and the responder has no answer to it on record.
    n_unanswered: int = 0
    # Same call and turn, but not the same instant: one side has miscounted.
    n_mismatched: int = 0


def pair(turns: Iterable[TurnRecord], truths: Iterable[Truth]) -> Pairing:
    """Pair the caller's turns with the responder's truth; turns cut by the end of the calibration are left out."""
    told = {(truth.call, truth.turn): truth for truth in truths}
    errors: list[TurnError] = []
    missed = early = unanswered = mismatched = 0
    for turn in turns:
        if turn.cut or turn.attempt or turn.speech_ended_at_ns is None:
            continue
        truth = told.get((turn.call_id, turn.turn))
        if truth is None:
            unanswered += 1
        elif abs(ms_between(truth.speech_ended_at_ns, turn.speech_ended_at_ns)) > _SAME_TURN_MS:
            mismatched += 1
        elif turn.false_endpoint:
            early += 1
        elif turn.ttfb_ms is None:
            missed += 1
        else:
            errors.append(TurnError(turn.call_id, turn.speech_ended_at_ns, turn.ttfb_ms - truth.ttfb_ms))
    return Pairing(errors, missed, early, unanswered, mismatched)


@dataclass(frozen=True, slots=True)
class ErrorStats:
    """The error of TTFB over a set of turns, in ms. Percentiles and the maximum are of its size, |error|."""

    n: int
    # Mean error: positive = we measure too long.
    bias_ms: float | None = None
    # 95 % bootstrap over calls, since turns of one call share its place in the 20 ms tick.
    bias_ci95: tuple[float, float] | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    # 95 %, from order statistics: it needs 368 turns and no distribution.
    p99_ci95: tuple[float, float] | None = None
    max_ms: float | None = None


def error_stats(errors: Sequence[TurnError], seed: int = 1) -> ErrorStats:
    """Return the figures of `errors`; equal errors and seed give equal intervals."""
    if not errors:
        return ErrorStats(0)
    sizes = sorted(abs(e.error_ms) for e in errors)
    n = len(sizes)
    ranks = interval_ranks(P99, n)
    return ErrorStats(
        n=n,
        bias_ms=math.fsum(e.error_ms for e in errors) / n,
        bias_ci95=_bias_interval(errors, seed),
        p50_ms=sizes[nearest_rank(0.5, n) - 1],
        p99_ms=sizes[nearest_rank(P99, n) - 1],
        p99_ci95=(sizes[ranks[0] - 1], sizes[ranks[1] - 1]) if ranks else None,
        max_ms=sizes[-1],
    )


def _bias_interval(errors: Sequence[TurnError], seed: int) -> tuple[float, float] | None:
    by_call: defaultdict[str, list[float]] = defaultdict(list)
    for error in errors:
        by_call[error.call_id].append(error.error_ms)
    calls = len(by_call)
    if calls < _MIN_CALLS_FOR_INTERVAL:
        return None
    sums = np.array([math.fsum(values) for values in by_call.values()])
    counts = np.array([len(values) for values in by_call.values()])
    rng = np.random.default_rng(seed)
    means: list[float] = []
    rows = max(1, _CHUNK // calls)
    for start in range(0, _RESAMPLES, rows):
        picks = rng.integers(0, calls, (min(rows, _RESAMPLES - start), calls))
        means.extend((sums[picks].sum(axis=1) / counts[picks].sum(axis=1)).tolist())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Step:
    """So many callers at once in one engine, and what that did to its measurements. None = not measured."""

    callers: int
    connected: int
    # Never connected, or ended by anything but the calibration itself.
    failed: int
    # How long all of them were held, and the error of the turns within that time.
    held_s: float
    error: ErrorStats
    # The error of turns that ended while calls were still being set up.
    error_during_setup: ErrorStats
    n_missed: int
    n_early: int
    n_unanswered: int
    n_mismatched: int
    n_ticks: int
    tick_lateness_p50_ms: float | None
    tick_lateness_p99_ms: float | None
    tick_lateness_max_ms: float | None
    setup_tick_lateness_p99_ms: float | None
    # Of one core; an engine has two threads.
    cpu_ratio_mean: float | None
    cpu_ratio_max: float | None
    memory_per_call_kib: float | None
    # All calls fall due at once; calls over the time from then to the last one connected.
    setups_per_s: float | None
    setup_p50_ms: float | None
    setup_p99_ms: float | None
    packets_sent: int
    packets_received: int
    # Send errors, datagrams dropped for want of buffer, and gaps that the responder did not make on purpose.
    packets_lost: int
    responder_cpu_ratio: float | None
    responder_tick_lateness_p99_ms: float | None
    # The longest that the responder's event loop, which plans its answers, was held up.
    responder_loop_lag_ms: float | None = None
    # What the responder's media loop could not tell it, its rings being full: answers that were never planned.
    responder_overflows: int = 0
    descriptors: int | None = None
    first_failure: str = ""
    limits: tuple[str, ...] = ()

    @property
    def is_within_bounds(self) -> bool:
        """Whether nothing was over its bound."""
        return not self.limits

    @property
    def cpu_per_call(self) -> float | None:
        """Share of a core that one call takes."""
        return None if self.cpu_ratio_mean is None else self.cpu_ratio_mean / max(1, self.callers)


def max_error_p99_ms(loss_ratio: float) -> float:
    """Return the bound on the error's p99, wider by a packet where packets are lost on purpose."""
    return MAX_ERROR_P99_MS + (LOSS_ALLOWANCE_MS if loss_ratio else 0.0)


def limits_of(step: Step, engine_cpus: int, loss_ratio: float = 0.0) -> tuple[str, ...]:
    """Return what was over its bound in `step`, each as a sentence with figure and bound; () = nothing."""
    error_bound = max_error_p99_ms(loss_ratio)
    # Two threads keep an engine busy: the media loop and the event loop.
    cpu_bound = MAX_CPU_RATIO * min(2, engine_cpus)
    answered = step.error.n + step.n_missed
    checks = (
        (
            step.error.n == 0,
            (
                f"no turn was paired with its truth: {step.n_unanswered} unanswered, {step.n_missed} answers not "
                f"heard, {step.n_early} heard early, {step.n_mismatched} counted differently"
            ),
        ),
        (
            _over(step.error.p99_ms, error_bound),
            f"TTFB error p99 {step.error.p99_ms or 0:.2f} ms, bound {error_bound:g} ms",
        ),
        (
            _over(step.tick_lateness_p99_ms, MAX_TICK_LATENESS_P99_MS),
            f"tick lateness p99 {step.tick_lateness_p99_ms or 0:.2f} ms, bound {MAX_TICK_LATENESS_P99_MS:g} ms",
        ),
        (step.packets_lost > 0, f"this machine lost {step.packets_lost} packets, bound 0"),
        (
            _over(step.cpu_ratio_mean, cpu_bound),
            f"the engine used {step.cpu_ratio_mean or 0:.0%} of a core, bound {cpu_bound:.0%}",
        ),
        (
            _over(step.responder_cpu_ratio, MAX_CPU_RATIO),
            (
                f"the responder used {step.responder_cpu_ratio or 0:.0%} of its core, bound {MAX_CPU_RATIO:.0%}: "
                "it is the limit here, not the engine"
            ),
        ),
        (
            step.responder_overflows > 0 or _over(step.responder_loop_lag_ms, MAX_RESPONDER_LAG_MS),
            (
                f"the responder was held up for {step.responder_loop_lag_ms or 0:.0f} ms, bound "
                f"{MAX_RESPONDER_LAG_MS:.0f} ms, and missed {step.responder_overflows} events: answers that "
                "came late or never are its own doing"
            ),
        ),
        (step.failed > 0, f"{step.failed} of {step.callers} calls failed; first: {step.first_failure or 'unknown'}"),
        (
            step.n_missed > MAX_MISSED_RATIO * max(1, answered),
            f"{step.n_missed} of {answered} answers were not heard, bound {MAX_MISSED_RATIO:.0%}",
        ),
        (step.n_mismatched > 0, f"{step.n_mismatched} turns were counted differently by caller and responder"),
    )
    return tuple(sentence for is_over, sentence in checks if is_over)


def _over(value: float | None, bound: float) -> bool:
    return value is not None and value > bound


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was spoken to, and how: calibrations under different conditions are different calibrations."""

    transport: str = "webrtc"
    codec: str = "opus"
    # "packets", "dtx" or "comfort-noise".
    silence: str = "packets"
    # "auto", "shared" or "per_call", as a scenario says it.
    source_ports: str = "auto"
    loss_ratio: float = 0.0
    delay_ms: tuple[float, float] = (250.0, 900.0)
    leading_silence_ms: tuple[float, float] = (0.0, 600.0)
    # Turns a call; None = as many as fit into `duration_s`.
    turns: int | None = None
    duration_s: float = 20.0
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class Calibration:
    """One climb on one machine."""

    # Host name, CPU, kernel and version of callquake: a change of any of them asks for a new calibration.
    machine: str
    # ISO 8601, UTC.
    calibrated_at: str
    conditions: Conditions
    # "compiled" or "python".
    media_loop: str
    # Which CPUs engine and responder ran on, in words.
    affinity: str
    engine_cpus: int
    steps: tuple[Step, ...]
    # Stopped before it was through.
    is_partial: bool = False

    @property
    def callers(self) -> int:
        """Most callers of one engine within every bound, with every smaller step within them too; 0 = none."""
        most = 0
        for step in self.steps:
            if not step.is_within_bounds:
                break
            most = max(most, step.callers)
        return most

    def step_for(self, callers: int) -> Step | None:
        """Return the step whose error stands for a run of at most `callers` at once; None where that is too many."""
        held = [step for step in self.steps if step.callers <= self.callers]
        return min((s for s in held if s.callers >= callers), key=lambda s: s.callers, default=None)

    @property
    def limited_by(self) -> tuple[str, ...]:
        """What was over its bound in the last step, () where nothing was."""
        return self.steps[-1].limits if self.steps else ()
