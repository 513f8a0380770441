"""Charts of the response time: its distribution, its course over the run, and where it went."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.measure.bands import TTFB_MS, band_of
from harness.measure.distribution import Estimate, Sample
from harness.measure.stages import STAGES, MeanBreakdown
from harness.report.charts import svg
from harness.report.words import bounded_ms, ms

_WIDTH = 520.0
# Bins are cut at the bands' edges where they can be: all of these divide 300, 500 and 800 but the wide ones.
_BIN_WIDTHS = (20.0, 50.0, 100.0, 200.0, 250.0, 500.0, 1_000.0, 2_000.0, 5_000.0)
_MAX_BINS = 40
# More dots than this are neither told apart nor worth the bytes.
MAX_DOTS = 3_000
_MARK_WIDTH = 100.0


@dataclass(frozen=True, slots=True)
class TurnPoint:
    """A turn on the run's time axis: `at_s` after the start, `ttfb_ms`, or the wait of an unanswered one."""

    at_s: float
    ttfb_ms: float
    is_censored: bool
    title: str


def histogram(sample: Sample, percentiles: dict[str, Estimate | None]) -> Markup:
    """Draw the distribution of TTFB, bars coloured by runbook band, unanswered turns in a bin of their own."""
    if not sample.n:
        return Markup("")
    top_value = max([*sample.observed, *(e.value for e in percentiles.values() if e and not e.is_lower_bound), 1_000.0])
    width = bin_width(top_value, _MAX_BINS)
    n_bins = math.floor(top_value / width) + 1
    bins = count_bins(sample.observed, width, n_bins)
    left, top, base = 34.0, 62.0, 226.0
    right = _WIDTH - (64.0 if sample.censored else 12.0)
    x = svg.Scale(n_bins * width, left, right)
    peak = max([sum(b.values()) for b in bins] + [len(sample.censored), 1])
    y = svg.Scale(peak, base, top)
    parts = [
        *_count_axis(peak, y, left, _WIDTH - 12),
        *_bars(bins, width, x, y, base),
        *_censored_bin(sample, y, base),
        *_time_axis(n_bins * width, x, base, bool(sample.censored)),
        *_marks(percentiles, x, base, _WIDTH - 12),
    ]
    return svg.chart(_WIDTH, 256, parts, f"Distribution of TTFB over {sample.n} turns")


def bin_width(top: float, most: int) -> float:
    """Return the width of bins that cut 0..`top` into at most `most`."""
    return next((w for w in _BIN_WIDTHS if top / w <= most), math.ceil(top / most))


def count_bins(values: Sequence[float], width: float, n_bins: int) -> list[dict[str, int]]:
    """Return how many values of each tone of the runbook's bands lie in each bin."""
    bins: list[dict[str, int]] = [{} for _ in range(n_bins)]
    for value in values:
        counts = bins[min(n_bins - 1, max(0, math.floor(value / width)))]
        tone = band_of(TTFB_MS, value).tone
        counts[tone] = counts.get(tone, 0) + 1
    return bins


def _count_axis(peak: int, y: svg.Scale, left: float, right: float) -> list[Markup]:
    marks = [v for v in svg.ticks(peak, 4) if v == int(v)]
    return [
        part
        for value in marks
        for part in (
            svg.line(left, y(value), right, y(value)),
            svg.label(left - 6, y(value) + 3.5, f"{value:g}", anchor="end"),
        )
    ]


def _bars(bins: list[dict[str, int]], width: float, x: svg.Scale, y: svg.Scale, base: float) -> list[Markup]:
    parts: list[Markup] = []
    gap = 1.0
    for index, counts in enumerate(bins):
        floor = 0
        for band in TTFB_MS:
            n = counts.get(band.tone, 0)
            if not n:
                continue
            left, right = x(index * width), x((index + 1) * width)
            height = y(floor) - y(floor + n)
            title = f"{index * width:g} to {(index + 1) * width:g} ms: {n} turns, {band.name}"
            parts.append(
                svg.box(
                    left + gap / 2,
                    y(floor + n),
                    right - left - gap,
                    height,
                    f"tone-{band.tone}",
                    title=title,
                    radius=1.5,
                )
            )
            floor += n
    return [*parts, svg.line(x.start, base, x.end, base, "axis")]


def _censored_bin(sample: Sample, y: svg.Scale, base: float) -> list[Markup]:
    n = len(sample.censored)
    if not n:
        return []
    left, right = _WIDTH - 46, _WIDTH - 16
    title = f"{n} turns without an answer, waited {ms(sample.censored[0])} to {ms(sample.censored[-1])}"
    return [
        svg.box(left, y(n), right - left, base - y(n), "censored", title=title, radius=1.5),
        svg.label((left + right) / 2, y(n) - 5, n, "value", "middle"),
        svg.line(left - 6, base, right + 4, base, "axis"),
        svg.label((left + right) / 2, base + 15, "no answer", anchor="middle"),
    ]


def _time_axis(top_ms: float, x: svg.Scale, base: float, leave_end: bool) -> list[Markup]:
    """Label the axis; `leave_end` keeps its end free for the label of the bin beside it."""
    marks = [v for v in svg.ticks(top_ms, 6) if not leave_end or x(v) < x.end - 24]
    return [svg.label(x(v), base + 15, svg.time_tick(v, top_ms), anchor="middle") for v in marks]


def _marks(percentiles: dict[str, Estimate | None], x: svg.Scale, base: float, right: float) -> list[Markup]:
    """Draw each percentile's line with its label left of it, the highest in the top row: so no line crosses a label."""
    parts: list[Markup] = []
    for row, (name, estimate) in enumerate(reversed(percentiles.items())):
        if estimate is None:
            continue
        height = 14.0 + row * 16
        # A lower bound above every answer lies off this axis: its label stands at the end, without a line.
        is_off = estimate.value > x.top
        at = right if is_off else x(estimate.value)
        is_early = at < x.start + _MARK_WIDTH
        text = f"{name} {bounded_ms(estimate)}"
        parts.append(svg.label(at + (5 if is_early else -5), height, text, "mark", "start" if is_early else "end"))
        if not is_off:
            parts.append(svg.line(at, height - 9, at, base, "mark-line"))
    return parts


def scatter(points: Sequence[TurnPoint]) -> Markup:
    """Draw each turn's TTFB at the time its user stopped speaking; unanswered ones as triangles at their wait."""
    if not points:
        return Markup("")
    left, right, top, base = 40.0, _WIDTH - 12, 14.0, 226.0
    top_ms, top_s = max(max(p.ttfb_ms for p in points) * 1.06, 1_000.0), max(1.0, *(p.at_s * 1.02 for p in points))
    x, y = svg.Scale(top_s, left, right), svg.Scale(top_ms, base, top)
    parts = [*_band_stripes(y, left, right)]
    for value in svg.ticks(top_ms, 5):
        parts += [
            svg.line(left, y(value), right, y(value)),
            svg.label(left - 6, y(value) + 3.5, svg.time_tick(value, top_ms), anchor="end"),
        ]
    parts += [_dot(p, x, y) for p in _thinned(points)]
    parts.append(svg.line(left, base, right, base, "axis"))
    for value in svg.ticks(top_s, 6):
        text = f"{value:g} s" if top_s <= 300 else f"{value / 60:g} min"
        parts.append(svg.label(x(value), base + 15, text, anchor="middle"))
    return svg.chart(_WIDTH, 256, parts, f"TTFB of {len(points)} turns over the run")


def _thinned(points: Sequence[TurnPoint]) -> list[TurnPoint]:
    """Return at most about `MAX_DOTS` points: evenly chosen ones, and as many of the slowest."""
    if len(points) <= MAX_DOTS:
        return list(points)
    half = MAX_DOTS // 2
    slowest = sorted(points, key=lambda p: -p.ttfb_ms)[:half]
    return [*points[:: math.ceil(len(points) / half)], *slowest]


def _band_stripes(y: svg.Scale, left: float, right: float) -> list[Markup]:
    edges = [0.0, *(b.upper for b in TTFB_MS if b.upper is not None), y.top]
    return [
        svg.box(left, y(high), right - left, y(low) - y(high), f"stripe tone-{band.tone}")
        for band, low, high in zip(TTFB_MS, edges[:-1], edges[1:], strict=True)
        if high > low
    ]


def _dot(point: TurnPoint, x: svg.Scale, y: svg.Scale) -> Markup:
    at_x, at_y = x(point.at_s), y(point.ttfb_ms)
    tip = svg.tag("title", point.title)
    if point.is_censored:
        d = f"M{at_x:.1f} {at_y - 5:.1f}l5 9h-10z"
        return svg.tag("path", tip, d=d, class_="dot tone-bad")
    return svg.tag("circle", tip, cx=at_x, cy=at_y, r=4, class_=f"dot tone-{band_of(TTFB_MS, point.ttfb_ms).tone}")


def stage_bars(groups: Sequence[MeanBreakdown]) -> Markup:
    """Draw the mean turn of each group as one bar whose parts add up to its TTFB; the unexplained rest is hatched."""
    if not groups:
        return Markup("")
    width, left, right = 1_064.0, 150.0, 974.0
    # Where an agent's own account is longer than what was heard, its parts reach past the TTFB.
    x = svg.Scale(max(max(g.ttfb_ms, sum(max(0.0, v) for v in g.parts.values())) for g in groups), left, right)
    parts: list[Markup] = []
    for row, group in enumerate(groups):
        y = 6.0 + row * 46
        parts += [
            svg.label(0, y + 14, group.name, "name"),
            svg.label(0, y + 29, f"{group.n} turn{'s' if group.n != 1 else ''}"),
            *_stack(group, x, y),
        ]
    return svg.chart(width, 6 + len(groups) * 46, parts, "Mean TTFB by stage")


def _stack(group: MeanBreakdown, x: svg.Scale, y: float) -> list[Markup]:
    parts: list[Markup] = []
    at = 0.0
    for stage in STAGES:
        value = group.parts[stage]
        if value <= 0:
            continue
        left, right = x(at), x(at + value)
        parts.append(svg.box(left, y, right - left, 32, f"stage-{stage} seam", title=f"{stage}: {ms(value)}"))
        # 7 units a character at the size of "inside".
        text = f"{value:,.0f}"
        if right - left > 7 * len(text) + 8:
            parts.append(svg.label((left + right) / 2, y + 20.5, text, f"inside on-{stage}", "middle"))
        at += value
    parts.append(svg.label(x(at) + 10, y + 21, ms(group.ttfb_ms), "total"))
    return parts
