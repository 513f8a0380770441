"""The generator's own chart: how late its packets left, beside how many calls it held."""

from collections.abc import Sequence

from markupsafe import Markup

from harness.measure.generator_health import MAX_TICK_LATENESS_P99_MS, HealthPoint
from harness.report.charts import svg
from harness.report.words import ms

_WIDTH = 520.0
# A line with more points than this is drawn by the worst of each stretch.
MAX_POINTS = 400
_LEFT, _RIGHT, _TOP, _BASE = 44.0, 508.0, 16.0, 150.0


def lateness(points: Sequence[HealthPoint], started_ns: int) -> Markup:
    """Draw the tick lateness p99 of each second, a line a worker, against the limit that voids a run."""
    timed = [p for p in points if p.tick_lateness_p99_ms is not None]
    if not timed:
        return Markup("")
    top_s = max([1.0, *((p.at_ns - started_ns) / 1e9 for p in timed)])
    top_ms = max([MAX_TICK_LATENESS_P99_MS * 1.15, *(p.tick_lateness_p99_ms or 0.0 for p in timed)])
    x, y = svg.Scale(top_s, _LEFT, _RIGHT), svg.Scale(top_ms, _BASE, _TOP)
    parts: list[Markup] = []
    for value in svg.ticks(top_ms, 4):
        parts += [
            svg.line(_LEFT, y(value), _RIGHT, y(value)),
            svg.label(_LEFT - 6, y(value) + 3.5, f"{value:g} ms", anchor="end"),
        ]
    limit = y(MAX_TICK_LATENESS_P99_MS)
    parts += [
        svg.line(_LEFT, limit, _RIGHT, limit, "limit"),
        svg.label(_RIGHT, limit - 5, f"void above {MAX_TICK_LATENESS_P99_MS:g} ms", "limit-text", "end"),
    ]
    for worker in sorted({p.worker for p in timed}):
        parts.append(_line([p for p in timed if p.worker == worker], started_ns, x, y))
    parts.append(svg.line(_LEFT, _BASE, _RIGHT, _BASE, "axis"))
    parts += [svg.label(x(v), _BASE + 15, f"{v:g} s", anchor="middle") for v in svg.ticks(top_s, 6)]
    worst = max(p.tick_lateness_p99_ms or 0.0 for p in timed)
    return svg.chart(_WIDTH, 176, parts, f"Tick lateness p99 over the run, at most {ms(worst)}")


def _line(points: Sequence[HealthPoint], started_ns: int, x: svg.Scale, y: svg.Scale) -> Markup:
    ordered = _worst_of_stretches(sorted(points, key=lambda p: p.at_ns))
    path = "L".join(f"{x((p.at_ns - started_ns) / 1e9):.1f} {y(p.tick_lateness_p99_ms or 0.0):.1f}" for p in ordered)
    return svg.tag("path", svg.tag("title", points[0].worker), d=f"M{path}", class_="series")


def _worst_of_stretches(ordered: Sequence[HealthPoint]) -> list[HealthPoint]:
    stretch = -(-len(ordered) // MAX_POINTS)
    pieces = (ordered[i : i + stretch] for i in range(0, len(ordered), stretch))
    return [max(piece, key=lambda p: p.tick_lateness_p99_ms or 0.0) for piece in pieces]
