"""WER under load as text, Markdown and JSON."""

import textwrap
from collections.abc import Iterator
from typing import Any

from harness.measure.normaliser import identity
from harness.measure.paired import PairedDifference
from harness.measure.pooled import MIN_UTTERANCES_FOR_INTERVAL
from harness.measure.under_load import UnderLoad, UtterancePair
from harness.report.analysis import Analysis
from harness.report.wer_json import rate_json
from harness.report.words import percent
from harness.verdict.verdict import VerdictKind

WIDTH = 96
# Of a segment with more values than these, the most changed are told.
_AT_MOST = 12


def caveats(idle: Analysis, loaded: Analysis, found: UnderLoad) -> list[str]:
    """Return what a reader must know: how far the two runs are comparable."""
    return list(_caveats(idle, loaded, found))


def _caveats(idle: Analysis, loaded: Analysis, found: UnderLoad) -> Iterator[str]:
    for name, run in (("idle", idle), ("loaded", loaded)):
        if run.verdict.kind is VerdictKind.VOID:
            yield f"The {name} run is VOID: {run.verdict.deciding}"
        if run.measured.wer.is_sample:
            yield f"Of the {name} run a sample was scored ({len(run.measured.wer.scored)} utterances)."
    peaks = [run.measured.health.peak_calls for run in (idle, loaded)]
    if peaks[0] and peaks[0] >= peaks[1]:
        yield f"The idle run had as many calls at once as the loaded one: {peaks[0]} and {peaks[1]}."
    corpora = [_corpus(run) for run in (idle, loaded)]
    if corpora[0] != corpora[1]:
        yield "The runs spoke different corpora; utterances of one name may be different audio."
    urls = [str(run.run.info.target.get("url", "")) for run in (idle, loaded)]
    if urls[0] != urls[1]:
        yield f"The runs called different addresses: {urls[0] or 'unknown'} and {urls[1] or 'unknown'}."
    if found.other_words:
        yield f"Utterances of one name with different words, in no figure: {len(found.other_words)}."


def _corpus(analysis: Analysis) -> object:
    corpus = analysis.run.info.corpus
    return corpus.get("sha256") if isinstance(corpus, dict) else None


def to_text(idle: Analysis, loaded: Analysis, found: UnderLoad) -> str:
    """Return the comparison for a terminal."""
    change = found.overall
    lines = [
        f"WER under load: {idle.run.info.run_id}, then {loaded.run.info.run_id}",
        f"  same utterances   idle {percent(change.first)}   loaded {percent(change.second)}",
        f"  difference        {_change(change)}  {verdict_of(change)}",
        f"  pairs             {change.n_pairs} utterances, {change.n_words} words; {_unpaired(found)}",
        f"  all utterances    idle {_whole(idle, found.idle.wer)}, loaded {_whole(loaded, found.loaded.wer)}",
    ]
    for line in caveats(idle, loaded, found):
        lines += textwrap.wrap(line, WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    rows = list(_rows(found))
    if rows:
        lines += ["", f"  {'segment':<32}{'idle':>8}{'loaded':>8}  {'difference':<28}{'pairs':>6}"]
        lines += [
            f"  {f'{key} {value}':<32.32}{percent(c.first):>8}{percent(c.second):>8}  {_change(c):<28}{c.n_pairs:>6}"
            for key, value, c in rows
        ]
    lines += ["", "  worst under load:"] if found.worst else []
    for one in found.worst[:4]:
        lines += textwrap.wrap(_worst(one), WIDTH, initial_indent="    ", subsequent_indent="      ")
    return "\n".join(lines)


def verdict_of(change: PairedDifference) -> str:
    """Return what may be said of a difference."""
    if change.value is None:
        return "not measured on both"
    if change.ci95 is None:
        return f"no interval: fewer than {MIN_UTTERANCES_FOR_INTERVAL} utterances"
    if not change.is_shown:
        return "no difference shown"
    return "worse under load" if change.value > 0 else "better under load"


def _change(change: PairedDifference) -> str:
    if change.value is None:
        return "n/a"
    ends = f" (95% {100 * change.ci95[0]:+.1f} to {100 * change.ci95[1]:+.1f})" if change.ci95 else ""
    return f"{100 * change.value:+.1f}{ends}"


def _unpaired(found: UnderLoad) -> str:
    return f"{len(found.only_idle)} of the idle run alone, {len(found.only_loaded)} of the loaded one"


def _whole(analysis: Analysis, wer: float | None) -> str:
    peak = analysis.measured.health.peak_calls
    return f"{percent(wer)}" + (f" (up to {peak} calls at once)" if peak else "")


def _rows(found: UnderLoad) -> Iterator[tuple[str, str, PairedDifference]]:
    keys = dict.fromkeys(key for key, _, _ in found.by_segment)
    for key in keys:
        rows = [row for row in found.by_segment if row[0] == key]
        if len(rows) > _AT_MOST:
            rows = sorted(rows, key=lambda row: -abs(row[2].value or 0.0))[:_AT_MOST]
        yield from rows


def _worst(one: UtterancePair) -> str:
    heard = max(one.loaded, key=lambda s: s.errors)
    return f"{one.utterance_id} {one.change:+.1f} errors a saying: {' '.join(heard.hypothesis) or 'nothing'}"


def to_markdown(idle: Analysis, loaded: Analysis, found: UnderLoad) -> str:
    """Return the comparison as a Markdown document."""
    change = found.overall
    between = (
        f"Idle `{idle.run.info.run_id}`, loaded `{loaded.run.info.run_id}`; the same utterances, paired. "
        f"Normaliser: {identity()}. Intervals are 95 % bootstraps over utterances."
    )
    found_out = (
        f"**{_change(change)} points: {verdict_of(change)}.** Idle {percent(change.first)}, loaded "
        f"{percent(change.second)} on {change.n_pairs} utterances, {change.n_words} words; {_unpaired(found)}."
    )
    lines = [
        "# WER under load",
        "",
        between,
        "",
        found_out,
        "",
        *(f"- {line}" for line in caveats(idle, loaded, found)),
        "",
        "| segment | idle | loaded | difference | pairs | words |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, value, c in _rows(found):
        name = f"{key} {value}".replace("|", "\\|")
        mark = "**" if c.is_shown else ""
        cells = [name, percent(c.first), percent(c.second), f"{mark}{_change(c)}{mark}", str(c.n_pairs), str(c.n_words)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def to_json(idle: Analysis, loaded: Analysis, found: UnderLoad) -> dict[str, Any]:
    """Return everything; ratios 0..1, null = not measured."""
    return {
        "schema_version": 1,
        "normaliser": identity(),
        "idle": _run(idle) | rate_json(found.idle),
        "loaded": _run(loaded) | rate_json(found.loaded),
        "difference": _difference(found.overall),
        "by_segment": [{"segment": k, "value": v, **_difference(c)} for k, v, c in found.by_segment],
        "only_idle": list(found.only_idle),
        "only_loaded": list(found.only_loaded),
        "other_words": list(found.other_words),
        "worst": [{"utterance_id": one.utterance_id, "errors_more": one.change} for one in found.worst],
        "caveats": caveats(idle, loaded, found),
    }


def _run(analysis: Analysis) -> dict[str, Any]:
    return {"run_id": analysis.run.info.run_id, "peak_calls": analysis.measured.health.peak_calls}


def _difference(change: PairedDifference) -> dict[str, Any]:
    return {
        "n_pairs": change.n_pairs,
        "n_words": change.n_words,
        "idle": _round(change.first),
        "loaded": _round(change.second),
        "difference": _round(change.value),
        "ci95": None if change.ci95 is None else [round(end, 6) for end in change.ci95],
        "is_shown": change.is_shown,
        "verdict": verdict_of(change),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
