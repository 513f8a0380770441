"""What report.html shows of alerts and fault timelines."""

from dataclasses import dataclass
from typing import Any

from harness.measure.rolling import Point, slide
from harness.model.clock import NS_PER_S
from harness.report.alert_words import clock, figure
from harness.report.analysis import Analysis, first_due_ns
from harness.report.timeline_words import by_itself, moments, state_of
from harness.report.timeline_words import figure as steady_figure
from harness.verdict.alerts import Alert
from harness.verdict.measures import parse_measure
from harness.verdict.readings import figure_of, readings_of
from harness.verdict.timeline import FaultTimeline

_OVER_NS = 10 * NS_PER_S
_MOST_ALERTS = 50


@dataclass(frozen=True, slots=True)
class RunCourse:
    """What the timeline's chart draws; times on the run's axis."""

    begun_ns: float
    ended_ns: float
    ttfb_p95: list[Point]
    # (instant, calls up).
    calls: list[tuple[float, int]]
    alerts: list[Alert]
    faults: list[FaultTimeline]


def alert_rows(analysis: Analysis) -> list[dict[str, str]]:
    """Return the alerts as rows of a table."""
    begun = first_due_ns(analysis.run)
    return [
        {
            "severity": alert.rule.severity.value,
            "title": alert.title,
            "when": alert.rule.when.expression,
            "action": alert.rule.action,
            "began": clock(alert.began_ns, begun),
            "fired": clock(alert.fired_ns, begun),
            "ended": "the end" if alert.ended_ns is None else clock(alert.ended_ns, begun),
            "worst": figure(alert.rule, alert.worst),
        }
        for alert in analysis.alerts[:_MOST_ALERTS]
    ]


def timeline_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return each fault's timeline as the template takes it."""
    return [
        {
            "name": one.injection.fault.name,
            "kind": one.injection.fault.kind,
            "moments": moments(one),
            "by_itself": by_itself(one),
            "blast": one.blast,
            "claims": [(state_of(claim), claim.words, claim.why) for claim in one.claims],
            "steady": [
                (row.measure.words, [steady_figure(row, found) for found in (row.before, row.during, row.after)])
                for row in one.steady
            ],
        }
        for one in analysis.timelines
    ]


def course_of_run(analysis: Analysis) -> RunCourse | None:
    """Return how the run went; None where there is nothing to draw."""
    if not analysis.timelines and not analysis.alerts:
        return None
    measure = parse_measure("ttfb_ms p95")
    found = sorted(
        (reading for reading, _ in readings_of(measure.metric, analysis.measured, {})), key=lambda one: one.at_ns
    )
    begun = float(first_due_ns(analysis.run) or (found[0].at_ns if found else 0))
    ended = max([begun + NS_PER_S, *(call.ended_at_ns for call in analysis.run.calls)])
    points = slide(
        found,
        figure_of(measure.metric, measure.aggregate),
        over_ns=_OVER_NS,
        min_samples=1,
        start_ns=begun,
        end_ns=ended,
    )
    changes = sorted(
        (at, step)
        for call in analysis.run.calls
        if call.connected_at_ns is not None
        for at, step in ((call.connected_at_ns, 1), (call.ended_at_ns, -1))
    )
    up, calls = 0, list[tuple[float, int]]()
    for at, step in changes:
        up += step
        calls.append((float(at), up))
    return RunCourse(begun, float(ended), list(points), calls, analysis.alerts, analysis.timelines)
