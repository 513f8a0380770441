"""Charts of ratios: WER by segment with intervals, and calls by how they ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.measure.bands import WER, band_of
from harness.measure.pooled import WerRate
from harness.report.charts import svg
from harness.report.words import interval, percent, words

_WIDTH = 520.0
_ROW = 30.0
_GRIDLINES = tuple(band.upper for band in WER if band.upper is not None)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a WER chart."""

    name: str
    rate: WerRate


def wer_top(bars: Sequence[Bar]) -> float:
    """Return the upper end of a WER axis that shows every bar and whisker; charts side by side share one."""
    ends = [end for bar in bars for end in ((bar.rate.ci95 or (0.0, 0.0))[1], bar.rate.wer or 0.0)]
    return max([0.25, *ends]) * 1.02


def wer_bars(bars: Sequence[Bar], top: float, summary: str) -> Markup:
    """Draw a bar a segment value with its 95% interval as a whisker and the number of reference words."""
    if not bars:
        return Markup("")
    left, right = 112.0, _WIDTH - 146
    x = svg.Scale(top, left, right)
    base = 24 + len(bars) * _ROW
    parts: list[Markup] = []
    for edge in _GRIDLINES:
        parts += [svg.line(x(edge), 18, x(edge), base, "grid"), svg.label(x(edge), 11, f"{edge:.0%}", anchor="middle")]
    for row, bar in enumerate(bars):
        parts += _wer_row(bar, x, 24 + row * _ROW, right)
    parts.append(svg.line(left, 18, left, base, "axis"))
    return svg.chart(_WIDTH, base + 4, parts, summary)


def _wer_row(bar: Bar, x: svg.Scale, y: float, right: float) -> list[Markup]:
    rate, middle = bar.rate, y + 11
    parts = [
        svg.label(x.start - 10, middle + 4, bar.name, "name", "end"),
        svg.label(right + 14, middle + 4, percent(rate.wer), "value"),
        svg.label(_WIDTH, middle + 4, f"{rate.n_words} words", anchor="end"),
    ]
    if rate.wer is None:
        return parts
    tone = band_of(WER, rate.wer).tone
    title = f"{bar.name}: {percent(rate.wer)} of {rate.n_words} words, {rate.n_utterances} utterances"
    parts.append(svg.box(x.start, y + 2, x(rate.wer) - x.start, 18, f"tone-{tone}", title=title, radius=2))
    if rate.ci95:
        low, high = x(rate.ci95[0]), x(rate.ci95[1])
        parts += [
            svg.tag("title", f"95% interval {interval(rate.ci95)}"),
            svg.line(low, middle, high, middle, "whisker"),
            svg.line(low, middle - 4, low, middle + 4, "whisker"),
            svg.line(high, middle - 4, high, middle + 4, "whisker"),
        ]
    return parts


def outcome_strip(outcomes: Sequence[tuple[str, str, int]]) -> Markup:
    """Draw calls by how they ended as one bar; `outcomes` are (name, tone, number of calls)."""
    x = svg.Scale(sum(n for _, _, n in outcomes), 0.0, _WIDTH)
    parts: list[Markup] = []
    at = 0
    for name, tone, n in outcomes:
        left, right = x(at), x(at + n)
        parts.append(svg.box(left, 0, right - left, 22, f"tone-{tone} seam", title=f"{name}: {n} calls"))
        at += n
    return svg.chart(_WIDTH, 22, parts, "Calls by how they ended")


def cause_bars(by_cause: Mapping[str, int], n_calls: int) -> Markup:
    """Draw how many calls ended early by each cause, as shares of the calls that count."""
    if not by_cause:
        return Markup("")
    left, right = 190.0, _WIDTH - 110
    x = svg.Scale(max(by_cause.values()), left, right)
    parts: list[Markup] = []
    for row, (cause, n) in enumerate(by_cause.items()):
        y = row * _ROW
        parts += [
            svg.label(left - 10, y + 15, words(cause), "name", "end"),
            svg.box(left, y + 2, x(n) - left, 18, "cause", title=f"{words(cause)}: {n} calls", radius=2),
            svg.label(x(n) + 8, y + 15, f"{n}", "value"),
            svg.label(_WIDTH, y + 15, f"{n / n_calls:.1%} of calls", anchor="end"),
        ]
    parts.append(svg.line(left, 0, left, len(by_cause) * _ROW - 4, "axis"))
    return svg.chart(_WIDTH, len(by_cause) * _ROW, parts, "Calls that ended before their goal, by cause")
