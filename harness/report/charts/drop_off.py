"""Drop-off by TTFB, with the inflection where there is one; and how long callers stayed."""

from markupsafe import Markup

from harness.measure.drop_off_curve import Bucket, DropOffCurve
from harness.measure.inflection import BUCKET_MS
from harness.measure.survival import Survival
from harness.report.charts import svg
from harness.report.words import interval, percent

_WIDTH, _HEIGHT = 520.0, 210.0
_LEFT, _RIGHT, _TOP, _BASE = 44.0, 508.0, 22.0, 180.0
# Buckets beyond this share of the callers are few and far, and would squeeze all others.
_SHOWN_SHARE = 0.99
_MOST_BUCKETS = 60


def by_ttfb(curve: DropOffCurve) -> Markup:
    """Draw the share that left in each bucket, with its interval; the last few percent of callers may lie outside."""
    shown = _shown(curve)
    if not shown:
        return Markup("")
    first, last = shown[0].low_ms, shown[-1].low_ms + BUCKET_MS
    top = min(1.0, max([0.1, *(bucket.ratio * 1.3 for bucket in shown)]))
    x, y = svg.Scale(last - first, _LEFT, _RIGHT), svg.Scale(top, _BASE, _TOP)
    parts = _grid(y, top)
    for bucket in shown:
        parts += _bar(bucket, first, x, y)
    found = curve.inflection.inflection_ms
    if found is not None and first <= found <= last:
        at = x(found - first)
        parts += [
            svg.line(at, _TOP - 8, at, _BASE, "limit"),
            svg.label(at + 5, _TOP - 8, f"inflection {found:,.0f} ms", "limit-text"),
        ]
    parts.append(svg.line(_LEFT, _BASE, _RIGHT, _BASE, "axis"))
    span = last - first
    parts += [
        svg.label(x(tick), _BASE + 15, svg.time_tick(first + tick, last), anchor="middle")
        for tick in svg.ticks(span, 7)
    ]
    return svg.chart(_WIDTH, _HEIGHT, parts, "Share of callers that left early, by their mean TTFB")


def _shown(curve: DropOffCurve) -> list[Bucket]:
    total = sum(bucket.n for bucket in curve.buckets)
    found: list[Bucket] = []
    seen = 0
    for bucket in curve.buckets[:_MOST_BUCKETS]:
        if seen >= _SHOWN_SHARE * total:
            break
        seen += bucket.n
        found.append(bucket)
    return found


def _grid(y: svg.Scale, top: float) -> list[Markup]:
    return [
        part
        for value in svg.ticks(top, 4)
        for part in (
            svg.line(_LEFT, y(value), _RIGHT, y(value)),
            svg.label(_LEFT - 6, y(value) + 3.5, f"{value:.0%}", anchor="end"),
        )
    ]


def _bar(bucket: Bucket, first: float, x: svg.Scale, y: svg.Scale) -> list[Markup]:
    left, right = x(bucket.low_ms - first) + 1, x(bucket.low_ms + BUCKET_MS - first) - 1
    middle, low, high = (left + right) / 2, y(bucket.ci95[0]), y(bucket.ci95[1])
    share = f"{percent(bucket.ratio)} of {bucket.n} callers, 95% {interval(bucket.ci95)}"
    title = f"{bucket.low_ms:,.0f} to {bucket.low_ms + BUCKET_MS:,.0f} ms: {share}"
    return [
        svg.box(left, y(bucket.ratio), right - left, _BASE - y(bucket.ratio), "cause", title=title, radius=1),
        svg.line(middle, low, middle, high, "whisker"),
    ]


def survival(curve: Survival) -> Markup:
    """Draw the share of callers that had not left, over the time on the line."""
    if not curve.steps or curve.followed_s <= 0:
        return Markup("")
    x, y = svg.Scale(curve.followed_s, _LEFT, _RIGHT), svg.Scale(1.0, _BASE, _TOP)
    parts = _grid(y, 1.0)
    path, share = f"M{_LEFT:.1f} {_TOP:.1f}", 1.0
    for step in curve.steps:
        path += f"L{x(step.at_s):.1f} {y(share):.1f}L{x(step.at_s):.1f} {y(step.share):.1f}"
        share = step.share
    path += f"L{_RIGHT:.1f} {y(share):.1f}"
    parts += [
        svg.tag("path", d=path, class_="series"),
        svg.line(_LEFT, _BASE, _RIGHT, _BASE, "axis"),
        *(svg.label(x(v), _BASE + 15, f"{v:g} s", anchor="middle") for v in svg.ticks(curve.followed_s, 6)),
    ]
    return svg.chart(_WIDTH, _HEIGHT, parts, "Share of callers still on the line, by time since it was up")
