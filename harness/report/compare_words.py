"""What changed between two runs, as text, Markdown and JSON."""

import textwrap
from collections.abc import Sequence
from typing import Any

from harness.measure.comparison import Change, Comparison
from harness.measure.distribution import Estimate
from harness.report.analysis import Analysis
from harness.report.under_load_words import verdict_of as words_verdict
from harness.report.words import NOT_MEASURED, bounded_ms, percent
from harness.verdict.verdict import VerdictKind

WIDTH = 96
_METHOD = (
    "Differences are after minus before, with 95 % intervals: percentiles by a bootstrap over whole calls, WER on the "
    "same utterances paired, shares by Newcombe's method. With many figures, some of them differ by chance."
)


def caveats(before: Analysis, after: Analysis, found: Comparison) -> list[str]:
    """Return what a reader must know: how far the two runs are comparable."""
    told = []
    for name, run in (("before", before), ("after", after)):
        if run.verdict.kind is VerdictKind.VOID:
            told.append(f"The run {name} is VOID: {run.verdict.deciding}")
    infos = before.run.info, after.run.info
    if not found.is_paired:
        told.append("The runs differ in scenario, seed or corpus: their calls are not the same, and none are paired.")
    urls = [str(info.target.get("url", "")) for info in infos]
    if urls[0] != urls[1]:
        told.append(f"They called different addresses: {urls[0] or 'unknown'} and {urls[1] or 'unknown'}.")
    if infos[0].simulated != infos[1].simulated:
        told.append("Not the same parts of the two were simulated.")
    return told


def is_paired(before: Analysis, after: Analysis) -> bool:
    """Return whether both runs placed the same calls with the same words."""
    keys = [
        (i.seed, i.scenario.get("callers"), i.scenario.get("load"), i.corpus) for i in (before.run.info, after.run.info)
    ]
    return keys[0] == keys[1]


def text(before: Analysis, after: Analysis, found: Comparison) -> str:
    """Return the comparison for a terminal."""
    lines = [f"Before {before.run.info.run_id}, after {after.run.info.run_id}", f"  {headline(found)}"]
    for line in caveats(before, after, found):
        lines += textwrap.wrap(line, WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    lines += ["", f"  {'':<24}{'before':>12}{'after':>12}  {'difference (95 %)':<34}"]
    lines += [_text_row(change) for change in found.changes]
    lines.append(_words_row(found))
    shown = [change for change in found.by_segment if change.difference.is_shown]
    if shown:
        lines += ["", "  by segment, where a difference is shown"]
        lines += [f"  {change.segment:<24.24}{_text_row(change)[2:]}" for change in shown]
    elif found.by_segment:
        lines += ["", f"  by segment: no difference shown in any of {len(found.by_segment)} figures"]
    return "\n".join(line.rstrip() for line in lines)


def headline(found: Comparison) -> str:
    """Return in a sentence what changed."""
    parts = [
        f"{verdict}: {', '.join(names)}"
        for verdict in ("worse", "better")
        if (names := [c.name for c in found.changes if c.verdict == verdict] + _words_named(found, verdict))
    ]
    if parts:
        return "; ".join(parts)
    words = found.words.overall if found.words else None
    if all(change.difference.why for change in found.changes) and (words is None or words.value is None):
        return "nothing can be told: too little was measured on both sides"
    return "no difference shown"


def _words_named(found: Comparison, verdict: str) -> list[str]:
    change = found.words.overall if found.words else None
    if change is None or not change.is_shown or change.value is None:
        return []
    return ["wer"] if (change.value > 0) is (verdict == "worse") else []


def figure(change: Change, estimate: Estimate | None) -> str:
    """Return a figure with its unit."""
    if estimate is None:
        return NOT_MEASURED
    return bounded_ms(estimate) if change.unit == "ms" else percent(estimate.value)


def span(change: Change) -> str:
    """Return the difference with its interval, in ms or points."""
    one = change.difference
    if one.value is None and one.low is None:
        return ""
    scale, unit = (1.0, " ms") if change.unit == "ms" else (100.0, " points")
    digits = 0 if change.unit == "ms" else 1
    value = "open" if one.value is None else f"{one.value * scale:+,.{digits}f}{unit}"
    if one.low is None or one.high is None:
        return value
    return f"{value} ({one.low * scale:+,.{digits}f} to {one.high * scale:+,.{digits}f})"


def _text_row(change: Change) -> str:
    cells = f"{figure(change, change.before):>12}{figure(change, change.after):>12}"
    return f"  {change.name:<24}{cells}  {span(change):<34}{change.verdict}"


def _words_row(found: Comparison) -> str:
    if found.words is None:
        return f"  {'wer':<24}{NOT_MEASURED} on both"
    change = found.words.overall
    ends = f" ({100 * change.ci95[0]:+.1f} to {100 * change.ci95[1]:+.1f})" if change.ci95 else ""
    value = "" if change.value is None else f"{100 * change.value:+.1f} points{ends}"
    told = words_verdict(change).replace(" under load", "")
    return f"  {'wer (paired)':<24}{percent(change.first):>12}{percent(change.second):>12}  {value:<34}{told}"


def markdown(before: Analysis, after: Analysis, found: Comparison) -> str:
    """Return the comparison as a Markdown document."""
    ours, theirs = (f"`{run.run.info.run_id}` ({run.verdict.kind.value})" for run in (before, after))
    lines = [
        "# Before and after",
        "",
        f"Before {ours}, after {theirs}. {_METHOD}",
        "",
        f"**{headline(found)}**",
        "",
        *(f"- {line}" for line in caveats(before, after, found)),
        "",
        *_table(found.changes, "figure"),
    ]
    if found.words is not None:
        change = found.words.overall
        value = "" if change.value is None else f"{100 * change.value:+.1f} points"
        ends = f" ({100 * change.ci95[0]:+.1f} to {100 * change.ci95[1]:+.1f})" if change.ci95 else ""
        told = words_verdict(change).replace(" under load", "")
        cells = ("wer (same utterances)", percent(change.first), percent(change.second), value + ends, told)
        lines.append(f"| {' | '.join(cells)} | {change.n_pairs} | {change.n_pairs} |")
    else:
        lines.append(f"| wer | {NOT_MEASURED} | {NOT_MEASURED} | | not measured on both | 0 | 0 |")
    if found.by_segment:
        lines += ["", "## By segment", "", *_table(found.by_segment, "segment and figure")]
    return "\n".join(lines) + "\n"


def _table(changes: Sequence[Change], title: str) -> list[str]:
    rows = [
        f"| {title} | before | after | difference (95 %) | | n before | n after |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for c in changes:
        name = f"{c.segment} {c.name}".strip().replace("|", "\\|")
        mark = "**" if c.difference.is_shown else ""
        cells = (name, figure(c, c.before), figure(c, c.after), span(c), f"{mark}{c.verdict}{mark}")
        rows.append(f"| {' | '.join(cells)} | {c.n_before} | {c.n_after} |")
    return rows


def to_json(before: Analysis, after: Analysis, found: Comparison) -> dict[str, Any]:
    """Return everything; durations in ms, ratios 0..1, null = not measured or an open end."""
    words = found.words.overall if found.words else None
    return {
        "schema_version": 1,
        "before": {"run_id": before.run.info.run_id, "verdict": before.verdict.kind.value},
        "after": {"run_id": after.run.info.run_id, "verdict": after.verdict.kind.value},
        "headline": headline(found),
        "is_paired": found.is_paired,
        "caveats": caveats(before, after, found),
        "changes": [_change_json(change) for change in found.changes],
        "by_segment": [_change_json(change) for change in found.by_segment],
        "wer": None
        if words is None
        else {
            "before": _round(words.first),
            "after": _round(words.second),
            "difference": _round(words.value),
            "ci95": None if words.ci95 is None else [_round(end) for end in words.ci95],
            "n_pairs": words.n_pairs,
            "n_words": words.n_words,
            "is_shown": words.is_shown,
            "verdict": words_verdict(words).replace(" under load", ""),
        },
    }


def _change_json(change: Change) -> dict[str, Any]:
    one = change.difference
    return {
        "figure": change.name,
        "segment": change.segment or None,
        "unit": change.unit,
        "before": _round(change.before.value) if change.before else None,
        "after": _round(change.after.value) if change.after else None,
        "before_is_lower_bound": bool(change.before and change.before.is_lower_bound),
        "after_is_lower_bound": bool(change.after and change.after.is_lower_bound),
        "n_before": change.n_before,
        "n_after": change.n_after,
        "difference": _round(one.value),
        "ci95": None if one.low is None or one.high is None else [_round(one.low), _round(one.high)],
        "is_shown": one.is_shown,
        "verdict": change.verdict,
    }


def _round(value: float | None) -> float | None:
    return None if value is None or value in {float("inf"), float("-inf")} else round(value, 6)
