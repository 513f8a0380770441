"""Everything measured of one run, in one object: records in, figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from harness.measure import by_target as target_metrics
from harness.measure import calls as call_metrics
from harness.measure import drop_off, drop_off_curve, generator_health, stages, ttfb, wer
from harness.measure import sip as sip_metrics
from harness.measure.distribution import Sample
from harness.measure.injections import Injection
from harness.measure.load_level import with_load
from harness.measure.sampling import Sampling
from harness.measure.target_series import Series, series_of
from harness.measure.windows import Window, fault_windows, phase_windows
from harness.model.records import CallRecord, HealthSample, TurnRecord
from harness.model.target_sample import TargetSample


@dataclass(frozen=True, slots=True)
class Measured:
    """The records of a run and all that is computed from them."""

    calls: Sequence[CallRecord]
    turns: Sequence[TurnRecord]
    counts: call_metrics.CallCounts
    ttfb: ttfb.TtfbResult
    stages: stages.StagesResult
    wer: wer.WerResult
    drop_off: drop_off.DropOffResult
    error_rate: float | None
    setup: Sample
    setup_queue: Sample
    greeting: Sample
    # Whether callers awaited a greeting, None when nothing says so.
    expects_greeting: call_metrics.Expects
    health: generator_health.HealthResult
    # None = no call went over SIP.
    sip: sip_metrics.SipResult | None = None
    # None = the scenario has one target.
    by_target: target_metrics.ByTarget | None = None
    # What was broken on purpose.
    faults: Sequence[Injection] = ()
    # Stretches of the run that thresholds may name: faults and stages of the load.
    windows: Sequence[Window] = ()
    # What is known of the target itself, by metric; what nobody told is absent.
    target_series: Series = field(default_factory=dict)
    # Who left early, by how long they had to wait; None = nobody was asked for it.
    curve: drop_off_curve.DropOffCurve | None = None


def measure(
    calls: Sequence[CallRecord],
    turns: Sequence[TurnRecord],
    health: Sequence[HealthSample],
    *,
    answer_timeout_ms: float | None = None,
    expects_greeting: call_metrics.Expects = None,
    engine_died: bool = False,
    locust_died: bool = False,
    worker_faults: Sequence[str] = (),
    why_engine_died: str = "",
    seed: int = 0,
    targets: Sequence[str] = (),
    sampling: Sampling | None = None,
    faults: Sequence[Injection] = (),
    not_heard: Mapping[str, str] | None = None,
    scenario: Mapping[str, Any] | None = None,
    first_due_ns: int | None = None,
    target_info: Mapping[str, Any] | None = None,
    target_samples: Sequence[TargetSample] = (),
) -> Measured:
    """Return the figures of a run; without `answer_timeout_ms` the longest wait of the run stands for it.

    `targets` are the names of the targets called, in the order in which they are to be told, () for an only one.
    `not_heard` says of targets, by name, why their transcripts are none: nothing of theirs is scored.
    `sampling` is how many turns are scored for WER; None = the default. `worker_faults` says of each worker that came
    to no planned end what was lost with it; `why_engine_died` is what the run noted of an engine's end.
    `scenario`, and the first instant at which one of its calls could be due, tell its phases; `target_info` and
    `target_samples` are the target's own words before and during the run.
    """
    n_open = len({t.call_id for t in turns} - {c.call_id for c in calls})
    # In any other run the record of such a call may stand in a damaged line, or be yet to come.
    counts = call_metrics.count(calls, n_open if engine_died or locust_died else 0)
    timeout = answer_timeout_ms if answer_timeout_ms is not None else _longest_wait(turns)
    turns = with_load(turns, calls)
    words = wer.measure(turns, timeout, seed, sampling, not_heard)
    own_health = generator_health.measure(
        health, calls, counts, engine_died, locust_died, turns, worker_faults, why_engine_died
    )
    return Measured(
        calls=calls,
        turns=turns,
        counts=counts,
        ttfb=ttfb.measure(turns),
        stages=stages.measure(turns),
        wer=words,
        drop_off=drop_off.measure(calls),
        error_rate=call_metrics.error_rate(calls)[0],
        setup=call_metrics.setup_sample(calls),
        setup_queue=call_metrics.setup_queue_sample(calls),
        greeting=call_metrics.greeting_sample(calls, turns, expects_greeting),
        expects_greeting=expects_greeting,
        health=own_health,
        sip=sip_metrics.measure(calls),
        by_target=target_metrics.measure(
            targets, calls, turns, words.scored, expects_greeting=expects_greeting, seed=seed, not_heard=not_heard
        ),
        faults=faults,
        windows=[*fault_windows(faults), *phase_windows(scenario or {}, first_due_ns)],
        target_series=series_of(target_samples, own_health.timeline, target_info),
        curve=drop_off_curve.measure(calls, turns, seed),
    )


def find_answer_timeout_ms(scenario: Mapping[str, Any]) -> float | None:
    """Return how long a turn is waited for, from the scenario's `limits.answer_timeout_s`; None where not said."""
    limits = scenario.get("limits")
    value = limits.get("answer_timeout_s") if isinstance(limits, Mapping) else None
    return value * 1000.0 if isinstance(value, int | float) else None


def find_sampling(scenario: Mapping[str, Any]) -> Sampling:
    """Return how many turns are scored, from the scenario's `wer`; the default where that says nothing usable."""
    said = scenario.get("wer")
    share, at_most = (said.get("share"), said.get("at_most")) if isinstance(said, Mapping) else (None, None)
    standard = Sampling()
    return Sampling(
        share=float(share) if _is_number(share) and 0 < share <= 1 else standard.share,
        at_most=at_most if type(at_most) is int and at_most > 0 else standard.at_most,
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def find_expects_greeting(scenario: Mapping[str, Any]) -> call_metrics.Expects:
    """Return whether the scenario's callers await a greeting, as they do by default; None where no target is told."""
    targets = scenario.get("targets")
    if isinstance(targets, Mapping) and targets:
        return {str(name): _is_awaited(target) for name, target in targets.items()}
    target = scenario.get("target")
    return _is_awaited(target) if isinstance(target, Mapping) else None


def _is_awaited(target: Any) -> bool:
    return not isinstance(target, Mapping) or bool(target.get("expect_greeting", True))


def _longest_wait(turns: Sequence[TurnRecord]) -> float | None:
    return max((t.waited_ms for t in turns if ttfb.entry_of(t) is ttfb.Entry.CENSORED), default=None)
