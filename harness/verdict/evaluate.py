"""Thresholds against a measured run: of the whole, of a stretch of it, of each segment, or stretch by stretch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.measure.distribution import Estimate
from harness.measure.rolling import Breach
from harness.measure.run import Measured
from harness.model.clock import NS_PER_S
from harness.verdict.chosen import Chosen, choose
from harness.verdict.readings import figure_of
from harness.verdict.stretches import Course, course_of
from harness.verdict.thresholds import Threshold, ThresholdVerdict


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
    # "accent:british" of a threshold by accent, else "".
    segment: str = ""
    # Of a threshold that is judged stretch by stretch: where it was broken.
    breaches: tuple[Breach, ...] = ()

    @property
    def title(self) -> str:
        """The threshold as reports write it, with its segment."""
        return self.threshold.expression + (f" [{self.segment}]" if self.segment else "")


def evaluate(threshold: Threshold, run: Measured) -> ThresholdResult:
    """Return what `threshold` says of `run`; of one that is taken apart by a tag, its worst segment."""
    order = (ThresholdVerdict.FAILED, ThresholdVerdict.NO_DATA, ThresholdVerdict.PASSED)
    return min(evaluate_all(threshold, run), key=lambda result: order.index(result.verdict))


def evaluate_all(threshold: Threshold, run: Measured) -> list[ThresholdResult]:
    """Return what `threshold` says of each segment of `run` that it is about; at least one result."""
    return [_judge(threshold, chosen, run) for chosen in choose(threshold, run)]


def _judge(threshold: Threshold, chosen: Chosen, run: Measured) -> ThresholdResult:
    if threshold.clauses.window_ms is not None and not chosen.why:
        return _judge_course(threshold, chosen, course_of(threshold, chosen))
    estimate, n = figure_of(threshold.metric, threshold.measure.aggregate)(chosen.readings)
    if chosen.why:
        estimate = None
    verdict, detail = _decide(threshold, estimate, n, chosen.why or _why_not(threshold, run))
    value = estimate.value if estimate else None
    return ThresholdResult(
        threshold, value, bool(estimate and estimate.is_lower_bound), n, verdict, detail, chosen.segment
    )


def _why_not(threshold: Threshold, run: Measured) -> str:
    return run.wer.reason if threshold.metric.name in {"wer", "entity_accuracy"} else ""


def _decide(threshold: Threshold, estimate: Estimate | None, n: int, why: str) -> tuple[ThresholdVerdict, str]:
    samples = threshold.metric.sample
    if estimate is None:
        return ThresholdVerdict.NO_DATA, f"not measured: {why or f'no {samples} to measure it on'}"
    if n < threshold.min_samples:
        return ThresholdVerdict.NO_DATA, f"{n} {samples}, at least {threshold.min_samples} are needed"
    shown, holds = show(threshold, estimate), threshold.decides(estimate)
    if holds is None:
        return ThresholdVerdict.NO_DATA, f"undecided: {shown} over {n} {samples}, some of them never answered"
    return ThresholdVerdict.PASSED if holds else ThresholdVerdict.FAILED, f"{shown} over {n} {samples}"


def show(threshold: Threshold, estimate: Estimate) -> str:
    """Return the value with its unit as people read it; a lower bound has a sign before it."""
    sign = "≥ " if estimate.is_lower_bound else ""
    unit = threshold.metric.unit
    if unit == "ms":
        return f"{sign}{estimate.value:,.0f} ms"
    return f"{sign}{estimate.value:.1%}" if unit == "ratio" else f"{sign}{estimate.value:g}"


# --- stretch by stretch --------------------------------------------------------------------------------------------


def _judge_course(threshold: Threshold, chosen: Chosen, course: Course) -> ThresholdResult:
    worst = course.worst
    verdict, detail = _decide_course(threshold, course)
    return ThresholdResult(
        threshold,
        worst.estimate.value if worst and worst.estimate else None,
        bool(worst and worst.estimate and worst.estimate.is_lower_bound),
        len(chosen.readings),
        verdict,
        detail,
        chosen.segment,
        tuple(course.breaches),
    )


def _decide_course(threshold: Threshold, course: Course) -> tuple[ThresholdVerdict, str]:
    samples, over_s = threshold.metric.sample, course.over_ns / NS_PER_S
    sustained_ns = (threshold.clauses.sustained_ms or 0.0) * 1e6
    windows = f"stretches of {over_s:g} s"
    if course.worst is None or course.worst.estimate is None:
        return ThresholdVerdict.NO_DATA, f"not measured: none of the {windows} had {course.min_samples} {samples}"
    long = [breach for breach in course.breaches if breach.length_ns >= sustained_ns]
    shown = f"{show(threshold, course.worst.estimate)} at worst in {windows}"
    if long:
        return ThresholdVerdict.FAILED, f"{shown}; broken {_spell(long, course.origin_ns, sustained_ns)}"
    if course.covered_ns < sustained_ns:
        reached = (
            f"{course.covered_ns / NS_PER_S:.0f} s of them, shorter than the {sustained_ns / NS_PER_S:.0f} s asked for"
        )
        return ThresholdVerdict.NO_DATA, f"{shown}; {reached}"
    if course.n_undecided and not course.n_decided:
        return ThresholdVerdict.NO_DATA, f"undecided: {shown}, and turns without an answer in each of them"
    longest = max((breach.length_ns for breach in course.breaches), default=None)
    never = "never broken" if longest is None else f"broken for {longest / NS_PER_S:.0f} s at most"
    return ThresholdVerdict.PASSED, f"{shown}; {never}"


def _spell(breaches: Sequence[Breach], origin_ns: float, sustained_ns: float) -> str:
    if not sustained_ns:
        first = breaches[0]
        return f"at {_clock(first.start_ns, origin_ns)}" + (
            f" and {len(breaches) - 1} times more" * (len(breaches) > 1)
        )
    longest = max(breaches, key=lambda breach: breach.length_ns)
    span = f"{_clock(longest.start_ns, origin_ns)} to {_clock(longest.end_ns, origin_ns)}"
    more = f", {len(breaches) - 1} more times" if len(breaches) > 1 else ""
    return f"for {longest.length_ns / NS_PER_S:.0f} s ({span}{more})"


def _clock(at_ns: float, origin_ns: float) -> str:
    """Return an instant as minutes and seconds since the first reading."""
    seconds = max(0, math.floor((at_ns - origin_ns) / NS_PER_S))
    return f"{seconds // 60}:{seconds % 60:02d}"
