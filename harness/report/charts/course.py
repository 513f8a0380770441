"""The run over time: TTFB p95 and calls up, faults as shades behind, alerts as bars below."""

from collections.abc import Sequence
from typing import Protocol

from markupsafe import Markup

from harness.measure.rolling import Point
from harness.model.clock import NS_PER_S
from harness.report.charts import svg
from harness.verdict.alerts import Alert
from harness.verdict.timeline import FaultTimeline

_WIDTH = 1060.0
_LEFT, _RIGHT, _TOP, _BASE = 56.0, 1010.0, 18.0, 200.0
_ROW = 13.0
_MOST_POINTS, _MOST_ROWS = 400, 12
_TONES = {"P1": "tone-bad", "P2": "tone-poor", "P3": "tone-fair"}


class Course(Protocol):
    """What is drawn; view_alerts.RunCourse has it."""

    @property
    def begun_ns(self) -> float:
        """The first instant a call could be due."""

    @property
    def ended_ns(self) -> float:
        """When the last call ended."""

    @property
    def ttfb_p95(self) -> Sequence[Point]:
        """Stretch by stretch."""

    @property
    def calls(self) -> Sequence[tuple[float, int]]:
        """Instant and calls up from then on."""

    @property
    def alerts(self) -> Sequence[Alert]:
        """What fired."""

    @property
    def faults(self) -> Sequence[FaultTimeline]:
        """What was broken."""


def course(run: Course | None) -> Markup:
    """Draw the run; nothing where there is none."""
    if run is None:
        return Markup("")
    span_s = (run.ended_ns - run.begun_ns) / NS_PER_S
    x = svg.Scale(span_s, _LEFT, _RIGHT)
    told = [point for point in run.ttfb_p95 if point.estimate is not None]
    top = max([1.0, *(point.estimate.value for point in told if point.estimate)]) * 1.1
    y = svg.Scale(top, _BASE, _TOP)
    parts = _shades(run, x)
    for value in svg.ticks(top, 4):
        parts += [
            svg.line(_LEFT, y(value), _RIGHT, y(value)),
            svg.label(_LEFT - 6, y(value) + 3.5, svg.time_tick(value, top), anchor="end"),
        ]
    parts += [_line(run, told, x, y), *_calls(run, x)]
    parts.append(svg.line(_LEFT, _BASE, _RIGHT, _BASE, "axis"))
    parts += [svg.label(x(v), _BASE + 15, f"{v:g} s", anchor="middle") for v in svg.ticks(span_s, 8)]
    rows = list(dict.fromkeys(alert.title for alert in run.alerts))[:_MOST_ROWS]
    for alert in run.alerts:
        if alert.title in rows:
            parts += _alert(run, alert, x, _BASE + 24 + rows.index(alert.title) * _ROW)
    return svg.chart(_WIDTH, _BASE + 28 + len(rows) * _ROW, parts, "TTFB p95, calls, faults and alerts over the run")


def _seconds(run: Course, at_ns: float) -> float:
    return (at_ns - run.begun_ns) / NS_PER_S


def _shades(run: Course, x: svg.Scale) -> list[Markup]:
    parts: list[Markup] = []
    for one in run.faults:
        left = x(_seconds(run, one.start_ns))
        right = _RIGHT if one.end_ns is None else x(_seconds(run, one.end_ns))
        name = one.injection.fault.name
        parts += [
            svg.box(left, _TOP, right - left, _BASE - _TOP, "stripe tone-bad", title=f"fault {name}"),
            svg.label(left + 3, _TOP - 4, name, "limit-text"),
        ]
    return parts


def _line(run: Course, told: Sequence[Point], x: svg.Scale, y: svg.Scale) -> Markup:
    stretch = -(-len(told) // _MOST_POINTS) or 1
    pieces = (told[i : i + stretch] for i in range(0, len(told), stretch))
    worst = [max(piece, key=lambda p: p.estimate.value if p.estimate else 0.0) for piece in pieces]
    path = "L".join(f"{x(_seconds(run, p.at_ns)):.1f} {y(p.estimate.value):.1f}" for p in worst if p.estimate)
    return svg.tag("path", svg.tag("title", "TTFB p95"), d=f"M{path}", class_="series") if path else Markup("")


def _calls(run: Course, x: svg.Scale) -> list[Markup]:
    peak = max((n for _, n in run.calls), default=0)
    if not peak:
        return []
    y = svg.Scale(peak * 1.1, _BASE, _TOP)
    stretch = -(-len(run.calls) // _MOST_POINTS) or 1
    path = "L".join(f"{x(_seconds(run, at)):.1f} {y(n):.1f}" for at, n in run.calls[::stretch])
    return [
        svg.tag("path", svg.tag("title", "calls up"), d=f"M{path}", class_="mark-line", fill="none"),
        svg.label(_RIGHT + 6, y(peak) + 4, f"{peak} calls"),
    ]


def _alert(run: Course, alert: Alert, x: svg.Scale, y: float) -> list[Markup]:
    left = x(_seconds(run, alert.began_ns))
    right = _RIGHT if alert.ended_ns is None else x(_seconds(run, alert.ended_ns))
    tone = _TONES[alert.rule.severity.value]
    bar = svg.box(left, y, max(2.0, right - left), _ROW - 4, tone, title=alert.title, radius=2)
    return [bar, svg.label(_LEFT - 6, y + 9, alert.rule.severity.value, anchor="end")]
