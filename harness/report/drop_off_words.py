"""Drop-off against TTFB in words and as summary.json has it."""

import textwrap
from typing import Any

from harness.measure.association import Association
from harness.measure.drop_off_curve import DropOffCurve
from harness.measure.inflection import BUCKET_MS, Inflection
from harness.report.words import interval, ms, percent

# At which times on the line the survival curve is told.
_TOLD_S = (10, 30, 60, 120, 300, 600, 1200)
_MOST_ROWS = 12
_WIDTH = 96


def inflection_words(found: Inflection) -> str:
    """Return what is found, in a sentence."""
    if found.inflection_ms is None or found.interval_ms is None:
        return f"Inflection: {found.why}."
    low, high = found.interval_ms
    rates = f"callers leave {percent(found.base_ratio)} of calls below and up to {percent(found.top_ratio)} above"
    caveat = f"; {found.why}" if found.why else ""
    place = f"{ms(found.inflection_ms)} (95% {low:,.0f} to {high:,.0f})"
    return f"Inflection: {place}; {rates}, p {found.p_value:.2g}{caveat}."


def association_words(found: Association) -> str:
    """Return how leaving goes with waiting, in a sentence."""
    if found.share is None:
        return f"Correlation: not told, {found.why}."
    rank, ends = found.rank_correlation or 0.0, found.rank_interval
    told = f" (95% {ends[0]:+.2f} to {ends[1]:+.2f})" if ends else ""
    verdict = "" if found.is_shown else "; none is shown"
    pairs = f"of {percent(found.share)} of pairs the caller that left had waited longer than the one that stayed"
    return f"Correlation of leaving with TTFB {rank:+.2f}{told}{verdict}: {pairs}."


def left_out_words(curve: DropOffCurve) -> list[str]:
    """Return who is in no bucket, and who is there by estimate only."""
    placed = curve.n_at_least - curve.n_unplaced
    told = [
        (placed, "callers with an unanswered turn waited at least so long, and are placed among those above"),
        (curve.n_other_ends, "calls that something else than their caller ended are in none of it"),
        (curve.n_without_turns, "calls had no turn that awaited an answer"),
    ]
    lines = [f"{n} {words}." for n, words in told if n]
    if curve.n_unplaced:
        share = f"{curve.n_unplaced_left} of them left"
        lines.append(
            f"{curve.n_unplaced} callers waited for {ms(curve.unplaced_from_ms)} or longer, beyond any answer: {share}."
        )
    return lines


def text_lines(curve: DropOffCurve | None) -> list[str]:
    """Return the section for a terminal; nothing where no caller left."""
    if curve is None or not curve.n_left:
        return []
    lines = [f"Drop-off by TTFB, {curve.n} callers, {curve.n_left} left early"]
    for bucket in curve.buckets[:_MOST_ROWS]:
        span = f"{bucket.low_ms:,.0f} to {bucket.low_ms + BUCKET_MS:,.0f} ms"
        lines.append(f"  {span:<20}{percent(bucket.ratio):>8}   95% {interval(bucket.ci95):<16} n {bucket.n}")
    if len(curve.buckets) > _MOST_ROWS:
        lines.append(f"  and {len(curve.buckets) - _MOST_ROWS} more buckets, in report.html")
    for sentence in (inflection_words(curve.inflection), association_words(curve.association)):
        lines += textwrap.wrap(sentence, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return lines


def survival_rows(curve: DropOffCurve) -> list[tuple[str, str, str]]:
    """Return (time on the line, share still there, interval) at round times."""
    rows = []
    for at_s in _TOLD_S:
        share = curve.survival.share_at(at_s)
        if share is None:
            break
        step = next((s for s in reversed(curve.survival.steps) if s.at_s <= at_s), None)
        rows.append((f"{at_s} s", percent(share), interval(step.interval) if step and step.interval else ""))
    return rows


def to_json(curve: DropOffCurve | None) -> dict[str, Any] | None:
    """Return the curve; ratios 0..1, times in ms, null = none or not measured."""
    if curve is None:
        return None
    found, linked, stayed = curve.inflection, curve.association, curve.survival
    return {
        "n": curve.n,
        "n_left": curve.n_left,
        "n_at_least": curve.n_at_least,
        "buckets": [
            {
                "from_ms": bucket.low_ms,
                "to_ms": bucket.low_ms + BUCKET_MS,
                "n": bucket.n,
                "n_left": bucket.n_left,
                "n_at_least": bucket.n_at_least,
                "ratio": round(bucket.ratio, 6),
                "ci95": [round(end, 6) for end in bucket.ci95],
            }
            for bucket in curve.buckets
        ],
        "beyond_any_answer": {
            "n": curve.n_unplaced,
            "n_left": curve.n_unplaced_left,
            "from_ms": curve.unplaced_from_ms,
        },
        "n_other_ends": curve.n_other_ends,
        "n_without_turns": curve.n_without_turns,
        "inflection": {
            "inflection_ms": found.inflection_ms,
            "bucket_ms": found.bucket_ms,
            "interval_ms": list(found.interval_ms) if found.interval_ms else None,
            "p_value": found.p_value,
            "base_ratio": _round(found.base_ratio),
            "top_ratio": _round(found.top_ratio),
            "shape": found.shape or None,
            "over_smooth_bic": _round(found.over_smooth),
            "why": found.why,
        },
        "correlation": {
            "pairs_ratio": _round(linked.share),
            "pairs_ci95": [round(end, 6) for end in linked.interval] if linked.interval else None,
            "rank": _round(linked.rank_correlation),
            "rank_ci95": [round(end, 6) for end in linked.rank_interval] if linked.rank_interval else None,
            "is_shown": linked.is_shown,
            "why": linked.why,
        },
        "survival": {
            "n": stayed.n,
            "n_left": stayed.n_left,
            "followed_s": round(stayed.followed_s, 3),
            "median_s": stayed.median_s,
            "steps": [
                {
                    "at_s": round(step.at_s, 3),
                    "at_risk": step.at_risk,
                    "left": step.left,
                    "ratio": round(step.share, 6),
                    "ci95": [round(end, 6) for end in step.interval] if step.interval else None,
                }
                for step in stayed.steps
            ],
        },
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
