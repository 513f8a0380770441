"""A threshold stretch by stretch: its figure over a sliding window, and where that broke the limit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.measure.rolling import Breach, Point, Reading, breaches, slide
from harness.measure.windows import Span
from harness.model.clock import NS_PER_MS
from harness.verdict.chosen import Chosen
from harness.verdict.readings import figure_of
from harness.verdict.thresholds import Threshold

_INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class Course:
    """How a threshold's figure went."""

    points: Sequence[Point]
    breaches: Sequence[Breach]
    # The window with the worst figure; None = no window had readings enough.
    worst: Point | None
    over_ns: float
    min_samples: int
    # Windows whose readings decide whether the limit is met, and those that unanswered turns leave open.
    n_decided: int
    n_undecided: int
    # From the first window that says something to the last.
    covered_ns: float
    # The first reading.
    origin_ns: float


def course_of(threshold: Threshold, chosen: Chosen, *, is_rule: bool = False) -> Course:
    """Return the course of `threshold` over readings in order.

    `is_rule`: it is a runbook's, which says what must not be; and each reading counts from when it could be known.
    """
    is_known, is_low_bad = is_rule, threshold.is_ceiling is is_rule
    over_ns = (threshold.clauses.window_ms or 0.0) * NS_PER_MS
    readings = chosen.readings
    points: list[Point] = []
    found: list[Breach] = []
    for start_ns, end_ns in _stretches(readings, chosen.spans, is_known=is_known):
        part = list(_points(threshold, readings, start_ns, end_ns, over_ns, is_known=is_known))
        decided = [point if _decides(threshold, point) else replace(point, estimate=None) for point in part]
        points += part
        found += breaches(
            decided,
            lambda estimate: threshold.decides(estimate) is is_rule,
            is_low_bad=is_low_bad,
            patience_ns=max(2 * over_ns, (threshold.clauses.sustained_ms or 0.0) * NS_PER_MS / 2),
        )
    told = [point for point in points if point.estimate is not None]
    n_decided = sum(_decides(threshold, point) for point in told)
    return Course(
        points=points,
        breaches=found,
        worst=_worst(told, is_low_bad=is_low_bad),
        over_ns=over_ns,
        min_samples=max(1, threshold.min_samples),
        n_decided=n_decided,
        n_undecided=len(told) - n_decided,
        covered_ns=told[-1].at_ns - told[0].at_ns + told[0].step_ns if told else 0.0,
        origin_ns=readings[0].at_ns if readings else 0.0,
    )


def _stretches(readings: Sequence[Reading], spans: Sequence[Span], *, is_known: bool) -> list[Span]:
    """Return the spans; an open end is where the readings begin or end."""
    if not readings:
        return []
    times = [reading.known_ns if is_known else reading.at_ns for reading in readings]
    first, last = min(times), max(times)
    cut = ((start if start > -_INFINITE else first, end if end < _INFINITE else last + 1) for start, end in spans)
    return [(start, end) for start, end in cut if start < end]


def _points(
    threshold: Threshold, readings: Sequence[Reading], start_ns: float, end_ns: float, over_ns: float, *, is_known: bool
) -> Sequence[Point]:
    ordered = sorted(readings, key=lambda reading: reading.known_ns) if is_known else readings
    figure = figure_of(threshold.metric, threshold.measure.aggregate)
    # What is shorter than one window is judged as one.
    reach = max(end_ns, start_ns + over_ns)
    return list(
        slide(
            ordered,
            figure,
            over_ns=over_ns,
            min_samples=threshold.min_samples,
            start_ns=start_ns,
            end_ns=reach,
            is_known=is_known,
        )
    )


def _decides(threshold: Threshold, point: Point) -> bool:
    return point.estimate is not None and threshold.decides(point.estimate) is not None


def _worst(told: Sequence[Point], *, is_low_bad: bool) -> Point | None:
    choose = min if is_low_bad else max
    return choose(told, key=lambda point: point.estimate.value if point.estimate else 0.0) if told else None
