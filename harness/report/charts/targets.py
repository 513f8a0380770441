"""TTFB of several targets on one axis: a distribution each, one below the other."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from harness.measure.bands import TTFB_MS
from harness.measure.ttfb import TtfbResult
from harness.report.charts import svg
from harness.report.charts.response import bin_width, count_bins
from harness.report.words import bounded_ms, percent

_WIDTH = 1_064.0
_LEFT, _RIGHT, _NO_ANSWER = 150.0, 974.0, 1_036.0
_ROW, _BARS, _TOP = 108.0, 66.0, 8.0
_MAX_BINS = 60
_MARKED = ("p50", "p95")


def distributions(groups: Sequence[tuple[str, TtfbResult]]) -> Markup:
    """Draw each target's turns as shares of its own, so that targets with few calls can be compared to others."""
    observed = [value for _, result in groups for value in result.sample.observed]
    if not any(result.sample.n for _, result in groups):
        return Markup("")
    top = max([*observed, 1_000.0])
    width = bin_width(top, _MAX_BINS)
    n_bins = math.floor(top / width) + 1
    x = svg.Scale(n_bins * width, _LEFT, _RIGHT - 40)
    binned = [count_bins(result.sample.observed, width, n_bins) for _, result in groups]
    peak = max(_peak(bins, result) for bins, (_, result) in zip(binned, groups, strict=True))
    parts: list[Markup] = []
    for row, ((name, result), bins) in enumerate(zip(groups, binned, strict=True)):
        base = _TOP + row * _ROW + _ROW - 14
        y = svg.Scale(peak, base, base - _BARS)
        parts += [*_head(name, result, base), *_bars(bins, result.sample.n, width, x, y), *_unanswered(result, y, base)]
        parts += [*_marks(result, x, base), svg.line(_LEFT, base, _RIGHT - 40, base, "axis")]
    bottom = _TOP + len(groups) * _ROW + 4
    ticks = svg.ticks(x.top, 8)
    parts += [svg.label(x(v), bottom, svg.time_tick(v, x.top), anchor="middle") for v in ticks]
    return svg.chart(_WIDTH, bottom + 6, parts, "TTFB of each target, as shares of its turns")


def _peak(bins: Sequence[dict[str, int]], result: TtfbResult) -> float:
    """Return the largest share of a target's turns in one bin, those without an answer included."""
    most = max(*(sum(counts.values()) for counts in bins), len(result.sample.censored))
    return most / result.sample.n if result.sample.n else 0.0


def _head(name: str, result: TtfbResult, base: float) -> list[Markup]:
    answered = f"{percent(result.sample.response_ratio)} answered" if result.sample.n else "no turn"
    turns = f"{result.sample.n} turn{'' if result.sample.n == 1 else 's'}"
    return [svg.label(0, base - 40, name, "name"), svg.label(0, base - 23, turns), svg.label(0, base - 8, answered)]


def _bars(bins: Sequence[dict[str, int]], n: int, width: float, x: svg.Scale, y: svg.Scale) -> list[Markup]:
    parts: list[Markup] = []
    for index, counts in enumerate(bins):
        floor = 0
        left, right = x(index * width), x((index + 1) * width)
        for band in TTFB_MS:
            count = counts.get(band.tone, 0)
            if not count:
                continue
            low, high = y(floor / n), y((floor + count) / n)
            title = f"{index * width:g} to {(index + 1) * width:g} ms: {count} of {n} turns, {band.name}"
            parts.append(svg.box(left + 0.5, high, right - left - 1, low - high, f"tone-{band.tone}", title=title))
            floor += count
    return parts


def _unanswered(result: TtfbResult, y: svg.Scale, base: float) -> list[Markup]:
    n = len(result.sample.censored)
    if not n:
        return []
    height = base - y(n / result.sample.n)
    title = f"{n} of {result.sample.n} turns without an answer"
    middle = (_RIGHT + _NO_ANSWER) / 2
    return [
        svg.box(middle - 15, base - height, 30, height, "censored", title=title, radius=1.5),
        svg.label(middle, base - height - 5, n, "value", "middle"),
        svg.line(middle - 21, base, middle + 21, base, "axis"),
        svg.label(middle, base + 13, "no answer", anchor="middle"),
    ]


def _marks(result: TtfbResult, x: svg.Scale, base: float) -> list[Markup]:
    """Draw p50 to the left of its line and p95 to the right of its own, so that near ones do not meet."""
    parts: list[Markup] = []
    for name in _MARKED:
        estimate = result.percentiles[name]
        if estimate is None or estimate.value > x.top:
            continue
        at, is_left = x(estimate.value), name == "p50" and x(estimate.value) > _LEFT + 100
        text = f"{name} {bounded_ms(estimate)}"
        row = base - _BARS - (16 if name == "p95" else 4)
        parts.append(svg.label(at + (-5 if is_left else 5), row, text, "mark", "end" if is_left else "start"))
        parts.append(svg.line(at, row - 9, at, base, "mark-line"))
    return parts
