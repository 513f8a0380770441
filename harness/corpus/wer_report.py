"""The WER of a corpus as text, Markdown and JSON."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.corpus.conditions.names import CLEAN
from harness.corpus.wer_table import ALL, NOISY, NOISY_PHONE, OTHER, CorpusWer, ScoredClip
from harness.measure.entities import KINDS
from harness.measure.normaliser import identity as normaliser
from harness.measure.paired import PairedDifference
from harness.measure.pooled import WerRate
from harness.measure.worst import worst_utterances, worst_words


@dataclass(frozen=True, slots=True)
class Origin:
    """What a table is of: said above it."""

    # The corpus's folder name and its manifest's sha256.
    corpus: str
    corpus_sha256: str
    recogniser: str
    # What to type to make it again.
    command: str


Table = tuple[str, Sequence[str], list[tuple[str, list[str]]]]
_NOTHING = "-"


def to_text(wer: CorpusWer, against: str | None) -> str:
    """Return the tables for a terminal: rates by accent and group of conditions, then by condition, and differences."""
    tables: list[Table] = [
        (
            "WER %",
            wer.groups,
            [(row, [_cell_text(wer.rate(wer.cell(row, group=g))) for g in wer.groups]) for row in wer.rows],
        )
    ]
    if len(wer.conditions) > 1:
        totals = [*wer.totals, ALL]
        cells = [(c, [_cell_text(wer.rate(wer.cell(row, c))) for row in totals]) for c in wer.conditions]
        tables.append(("WER %", totals, cells))
        same = {row: wer.same_recordings(row) for row in wer.rows}
        told_same = [(row, [_cell_text(wer.rate(cell)) for cell in same[row].values()]) for row in wer.rows]
        tables += [("same recordings, WER %", list(same[ALL]), told_same), _steps(wer, _change_text)]
    if against is not None:
        tables.append(_accents(wer, against, _change_text))
    told = [table for table in tables if any(cell != _NOTHING for _, cells in table[2] for cell in cells)]
    return "\n\n".join("\n".join(_aligned(*table)) for table in told)


def _cell_text(rate: WerRate | None) -> str:
    if rate is None or rate.wer is None:
        return _NOTHING
    ends = f" ({100 * rate.ci95[0]:.1f} to {100 * rate.ci95[1]:.1f})" if rate.ci95 else ""
    return f"{100 * rate.wer:.1f}{ends} {rate.n_utterances}/{rate.n_words}"


def _aligned(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    first = max(len(title), *(len(name) for name, _ in rows)) if rows else len(title)
    widths = [max(len(name), *(len(cells[i]) for _, cells in rows)) for i, name in enumerate(columns)]
    lines = [(title, columns), *rows]
    return [
        f"{name:{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, cells in lines
    ]


def _steps(wer: CorpusWer, spell: Callable[[PairedDifference], str]) -> Table:
    """Each group of conditions minus the easier one, on the same recordings."""
    pairs = [(CLEAN, NOISY), (NOISY, NOISY_PHONE), (CLEAN, OTHER)]
    wanted = [(a, b) for a, b in pairs if a in wer.groups and b in wer.groups]
    rows = [(row, [spell(wer.group_difference(row, a, b)) for a, b in wanted]) for row in wer.rows]
    return "points", [f"{b} minus {a}" for a, b in wanted], rows


def _accents(wer: CorpusWer, against: str, spell: Callable[[PairedDifference], str]) -> Table:
    """Each accent minus the reference one, on the same sentences in the same conditions."""
    others = [accent for accent in wer.accents if accent != against]
    rows = [
        (accent, [spell(wer.accent_difference(accent, against, group)) for group in (*wer.groups, None)])
        for accent in others
    ]
    return f"points over {against}", [*wer.groups, "all conditions"], rows


def _change_text(change: PairedDifference) -> str:
    if change.value is None:
        return _NOTHING
    ends = f" ({100 * change.ci95[0]:+.1f} to {100 * change.ci95[1]:+.1f})" if change.ci95 else " (few)"
    return f"{100 * change.value:+.1f}{ends}"


def to_markdown(wer: CorpusWer, origin: Origin, against: str | None) -> str:
    """Return the document: what it is of, the tables with n and intervals, entities, and what to look at first."""
    return "\n".join([*_head(wer, origin), *_rates(wer), *_differences(wer, against), *_entities(wer), *_worst(wer)])


def _head(wer: CorpusWer, origin: Origin) -> Iterator[str]:
    words = sum(one.n_words for one in wer.scored)
    yield "# How hard the corpus is: WER by accent and condition\n"
    yield f"Made by `{origin.command}`; do not edit. [wer.md](wer.md) says how to read it.\n"
    yield f"- Corpus `{origin.corpus}`: {len(wer.scored)} clips, {words:,} words, manifest {origin.corpus_sha256[:16]}."
    yield f"- Recogniser: {origin.recogniser}."
    yield f"- Normaliser: {normaliser()}; alignment: jiwer."
    yield (
        "- Intervals are 95 % bootstraps that draw sentences; n is clips / words. A cell with fewer than 5 sentences "
        "draws clips, one with fewer than 5 clips has no interval.\n"
    )


def _rates(wer: CorpusWer) -> Iterator[str]:
    yield "## By accent and group of conditions\n"
    yield (
        "*noisy*: noise alone; *noisy phone*: noise, then a telephone band or codec; *other*: rooms, distortions, "
        "channels alone.\n"
    )
    columns = [*wer.groups, "all"]
    yield from _table(
        "WER %",
        columns,
        [(row, [_cell(wer, wer.cell(row, group=None if g == "all" else g)) for g in columns]) for row in wer.rows],
    )
    if NOISY_PHONE in wer.groups and wer.same_recordings(ALL)[NOISY]:
        yield "\n## Clean, in noise, in the same noise on a telephone: the same recordings\n"
        yield (
            "The groups above hold different noises; here every recording stands in all three columns, so they may be "
            "compared.\n"
        )
        same = {row: wer.same_recordings(row) for row in wer.rows}
        yield from _table(
            "WER %", list(same[ALL]), [(row, [_cell(wer, cell) for cell in same[row].values()]) for row in wer.rows]
        )
    yield "\n## By condition and accent\n"
    yield from _table(
        "WER %", wer.rows, [(c, [_cell(wer, wer.cell(row, c)) for row in wer.rows]) for c in wer.conditions]
    )


def _cell(wer: CorpusWer, cell: Sequence[ScoredClip]) -> str:
    rate = wer.rate(cell)
    if rate is None or rate.wer is None:
        return _NOTHING
    ends = f"<br>{100 * rate.ci95[0]:.1f} to {100 * rate.ci95[1]:.1f}" if rate.ci95 else ""
    return f"**{100 * rate.wer:.1f}**{ends}<br>{rate.n_utterances} / {rate.n_words:,}"


def _differences(wer: CorpusWer, against: str | None) -> Iterator[str]:
    title, columns, rows = _steps(wer, _change_markdown)
    if columns:
        yield "\n## What conditions cost, on the same recordings\n"
        yield (
            "Points of WER, paired by recording; noisy phone against noisy in the same noise. Bold where the interval "
            "leaves out zero; n is pairs / sentences.\n"
        )
        yield from _table(title, columns, rows)
    if against is None:
        return
    yield "\n## What an accent costs, on the same sentences\n"
    yield (
        f"Points of WER over {against}, paired by sentence and condition. Bold where the interval leaves out zero; n "
        "is pairs / sentences.\n"
    )
    yield from _table(*_accents(wer, against, _change_markdown))
    clean = [c for c in wer.conditions if c != CLEAN]
    if not clean:
        return
    yield "\n## What each condition costs over clean\n"
    yield from _table(
        "points",
        [*wer.totals, ALL],
        [(c, [_change_markdown(wer.condition_difference(r, c)) for r in (*wer.totals, ALL)]) for c in clean],
    )


def _change_markdown(change: PairedDifference) -> str:
    if change.value is None:
        return _NOTHING
    mark = "**" if change.is_shown else ""
    ends = f"<br>{100 * change.ci95[0]:+.1f} to {100 * change.ci95[1]:+.1f}" if change.ci95 else ""
    return f"{mark}{100 * change.value:+.1f}{mark}{ends}<br>{change.n_pairs} / {change.n_groups}"


def _entities(wer: CorpusWer) -> Iterator[str]:
    kinds = [kind for kind in KINDS if wer.entities(wer.scored, kind).n]
    if not kinds:
        return
    yield "\n## Numbers and names, right or wrong as a whole\n"
    yield "Share right, Wilson's 95 % interval, right / n.\n"
    rows = []
    for group in (*wer.groups, "all"):
        cell = wer.cell(ALL, group=None if group == "all" else group)
        rows.append((group, [_share(wer, cell, kind) for kind in (*kinds, None)]))
    yield from _table("entities right, %", [*kinds, "all"], rows)
    yield ""
    by_accent = [(row, [_share(wer, wer.cell(row, group=g), None) for g in wer.groups]) for row in wer.rows]
    yield from _table("entities right, %", wer.groups, by_accent)


def _share(wer: CorpusWer, cell: Sequence[ScoredClip], kind: str | None) -> str:
    rate = wer.entities(cell, kind)
    if rate.accuracy is None or rate.ci95 is None:
        return _NOTHING
    low, high = (100 * end for end in rate.ci95)
    return f"**{100 * rate.accuracy:.1f}**<br>{low:.1f} to {high:.1f}<br>{rate.n_right} / {rate.n}"


def _worst(wer: CorpusWer) -> Iterator[str]:
    clean = wer.cell(ALL, CLEAN) or wer.scored
    yield "\n## Where to look first\n"
    yield "Sentences with the highest WER, over all clips of them:\n"
    for one in worst_utterances(wer.scored, lambda s: s.clip.sentence_id, 8):
        yield f"- `{one.utterance_id}` {100 * (one.wer or 0):.0f} %, {one.n} clips: {one.example.clip.transcript}"
    words = ", ".join(f"{word.word} ({word.errors} of {word.n})" for word in worst_words(clean, 12))
    yield f"\nWords most often missed in clean clips: {words or 'none'}.\n"


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    yield f"| {title} | {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for name, cells in rows:
        yield f"| {name} | {' | '.join(cells)} |"


def to_json(wer: CorpusWer, origin: Origin, against: str | None) -> dict[str, Any]:
    """Return everything as JSON: ratios 0..1, null where there is nothing to say."""
    return {
        "corpus": origin.corpus,
        "corpus_sha256": origin.corpus_sha256,
        "recogniser": origin.recogniser,
        "normaliser": normaliser(),
        "groups": [
            {"row": row, "group": group} | _rate_json(wer.rate(wer.cell(row, group=group)))
            for row in wer.rows
            for group in wer.groups
        ],
        "cells": [
            {"row": row, "condition": condition} | _rate_json(wer.rate(wer.cell(row, condition)))
            for row in wer.rows
            for condition in wer.conditions
        ],
        "same_recordings": [
            {"row": row, "group": group} | _rate_json(wer.rate(cell))
            for row in wer.rows
            for group, cell in wer.same_recordings(row).items()
        ],
        "accents": [
            {"accent": accent, "against": against, "group": group}
            | _change_json(wer.accent_difference(accent, against, group))
            for accent in wer.accents
            for group in (*wer.groups, None)
            if against is not None and accent != against
        ],
        "clips": [
            {"id": one.clip.id, "errors": one.errors, "n_words": one.n_words, "heard": " ".join(one.hypothesis)}
            for one in wer.scored
        ],
    }


def _rate_json(rate: WerRate | None) -> dict[str, Any]:
    if rate is None:
        return {"n_utterances": 0, "n_words": 0, "wer": None, "ci95": None}
    return {
        "n_utterances": rate.n_utterances,
        "n_words": rate.n_words,
        "substitutions": rate.substitutions,
        "deletions": rate.deletions,
        "insertions": rate.insertions,
        "wer": rate.wer,
        "ci95": rate.ci95,
    }


def _change_json(change: PairedDifference) -> dict[str, Any]:
    return {
        "n_pairs": change.n_pairs,
        "n_sentences": change.n_groups,
        "n_words": change.n_words,
        "first": change.first,
        "second": change.second,
        "value": change.value,
        "ci95": change.ci95,
    }
