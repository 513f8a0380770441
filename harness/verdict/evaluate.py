"""Thresholds against a measured run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.measure import calls as call_metrics
from harness.measure import drop_off, entities, sip, stages, ttfb
from harness.measure.distribution import Estimate, Sample
from harness.measure.run import Measured
from harness.measure.segments import call_tags, turn_tags
from harness.model.records import CallRecord, Outcome, TurnRecord
from harness.verdict.thresholds import Threshold, ThresholdVerdict

_SIP_DELAYS: Mapping[str, Callable[[Sequence[CallRecord]], Sample]] = {
    "sip_rrd_ms": sip.registration_delay,
    "sip_srd_ms": sip.request_delay,
    "sip_sdd_ms": sip.disconnect_delay,
    "sip_sdt_ms": sip.session_duration,
}
_SIP_RATIOS: Mapping[str, Callable[[Sequence[CallRecord]], sip.Ratio]] = {
    "sip_ira": sip.ira,
    "sip_ser": sip.ser,
    "sip_seer": sip.seer,
    "sip_isa": sip.isa,
    "sip_scr": sip.scr,
}


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """A threshold's verdict with the number that decided it; `value` None when nothing was measured."""

    threshold: Threshold
    value: float | None
    # The truth is at least `value`: turns without an answer stand in the way of knowing it.
    is_lower_bound: bool
    n: int
    verdict: ThresholdVerdict
    # Why, in one sentence for people.
    detail: str


def evaluate(threshold: Threshold, run: Measured) -> ThresholdResult:
    """Return what `threshold` says of `run`."""
    estimate, n = _measure(threshold, run)
    verdict, detail = _decide(threshold, estimate, n, run.wer.reason)
    value = estimate.value if estimate else None
    return ThresholdResult(threshold, value, bool(estimate and estimate.is_lower_bound), n, verdict, detail)


def _decide(threshold: Threshold, estimate: Estimate | None, n: int, why_no_wer: str) -> tuple[ThresholdVerdict, str]:
    samples = threshold.metric.sample
    if estimate is None:
        is_whole_run = threshold.metric.name in {"wer", "entity_accuracy"} and why_no_wer
        why = why_no_wer if is_whole_run else f"no {samples} to measure it on"
        return ThresholdVerdict.NO_DATA, f"not measured: {why}"
    if n < threshold.min_samples:
        return ThresholdVerdict.NO_DATA, f"{n} {samples}, at least {threshold.min_samples} are needed"
    upper = float("inf") if estimate.upper is None else estimate.upper
    at_least, at_most = threshold.holds(estimate.value), threshold.holds(upper)
    shown = show(threshold, estimate)
    if at_least and at_most:
        return ThresholdVerdict.PASSED, f"{shown} over {n} {samples}"
    if not at_least and not at_most:
        return ThresholdVerdict.FAILED, f"{shown} over {n} {samples}"
    return ThresholdVerdict.NO_DATA, f"undecided: {shown} over {n} {samples}, some of them never answered"


def show(threshold: Threshold, estimate: Estimate) -> str:
    """Return the value with its unit as people read it; a lower bound has a sign before it."""
    sign = "≥ " if estimate.is_lower_bound else ""
    unit = threshold.metric.unit
    if unit == "ms":
        return f"{sign}{estimate.value:,.0f} ms"
    return f"{sign}{estimate.value:.1%}" if unit == "ratio" else f"{sign}{estimate.value:g}"


def _measure(threshold: Threshold, run: Measured) -> tuple[Estimate | None, int]:
    """Return the metric on the records that the threshold's tags choose, and the number of samples behind it."""
    if threshold.metric.scope == "call":
        return _of_calls(threshold, run)
    return _of_turns(threshold, run)


def _of_turns(threshold: Threshold, run: Measured) -> tuple[Estimate | None, int]:
    tags = {k.removeprefix("tag_"): v for k, v in threshold.tags.items() if k != "stage"}
    turns = [t for t in run.turns if _matches(tags, turn_tags(t))]
    match threshold.metric.name:
        case "ttfb_ms":
            return _aggregate(threshold, ttfb.sample_of(turns))
        case "stage_ms":
            return _aggregate(threshold, stages.stage_sample(turns, threshold.tags["stage"]))
        case "wer":
            chosen = [s for s in run.wer.scored if _matches(tags, turn_tags(s.turn))]
            n_words = sum(s.n_words for s in chosen)
            return _exact(sum(s.errors for s in chosen) / n_words if n_words else None), n_words
        case "entity_accuracy":
            rate = entities.rate_of(e for e in run.wer.entity_list if _matches(tags, e.tags))
            return _exact(rate.accuracy), rate.n
        case name:
            return _turn_ratio(name, turns)


def _turn_ratio(name: str, turns: list[TurnRecord]) -> tuple[Estimate | None, int]:
    result = ttfb.measure(turns)
    if name == "turns_answered":
        return _exact(result.n_answered), result.n_answered
    if name == "false_endpoint_ratio":
        return _exact(result.false_endpoint_ratio), result.n_awaited
    return _exact(result.sample.response_ratio), result.sample.n


def _of_calls(threshold: Threshold, run: Measured) -> tuple[Estimate | None, int]:
    calls: list[CallRecord] = [c for c in run.calls if _matches(threshold.tags, call_tags(c))]
    match threshold.metric.name:
        case "setup_ms":
            return _aggregate(threshold, call_metrics.setup_sample(calls))
        case "greeting_ms":
            return _aggregate(threshold, call_metrics.greeting_sample(calls, run.turns, run.expects_greeting))
        case "drop_off":
            result = drop_off.measure(calls)
            return _exact(result.ratio), result.n
        case "error_rate":
            rate, n = call_metrics.error_rate(calls)
            return _exact(rate), n
        case name if name in _SIP_DELAYS:
            return _aggregate(threshold, _SIP_DELAYS[name](calls))
        case name if name in _SIP_RATIOS:
            ratio = _SIP_RATIOS[name](calls)
            return _exact(ratio.value), ratio.n
        case _:
            completed = sum(c.outcome is Outcome.COMPLETED for c in calls)
            return _exact(completed), completed


def _matches(wanted: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    return all(tags.get(key) == value for key, value in wanted.items())


def _exact(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, value)


def _aggregate(threshold: Threshold, sample: Sample) -> tuple[Estimate | None, int]:
    quantile = threshold.quantile
    if quantile is not None:
        return sample.percentile(quantile), sample.n
    figures = {"min": sample.minimum, "max": sample.maximum, "mean": sample.mean}
    return figures[threshold.aggregation](), sample.n
