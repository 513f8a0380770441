"""WER and entities on a terminal, and the sentences about them that other reports share."""

import textwrap

from harness.measure.bands import WER, band_of
from harness.measure.entities import EntityRate
from harness.measure.pooled import WerRate
from harness.measure.wer import ENTITY_TAG, WerResult
from harness.report.intelligibility import Intelligibility
from harness.report.words import NOT_MEASURED, interval, percent

WIDTH = 96
_INDENT = " " * 7
# Told on the terminal; all are in report.html and summary.json.
SEGMENTS = ("accent", "native", "noise", "room", "channel", "domain", "load")
_AT_MOST = 12


def text_lines(result: WerResult) -> list[str]:
    """Return the WER block of the text report."""
    if result.overall is None:
        return textwrap.wrap(
            f"{NOT_MEASURED}: {result.reason}", WIDTH, initial_indent="WER    ", subsequent_indent=_INDENT
        )
    rate = result.overall
    head = f"WER    {percent(rate.wer)}{_band(rate)}   95% {interval(rate.ci95) or 'interval: too few utterances'}"
    lines = [
        f"{head}   {rate.n_words} words",
        f"{_INDENT}{rate.substitutions} substituted, {rate.deletions} deleted, {rate.insertions} inserted",
    ]
    if result.is_sample:
        lines.append(_INDENT + sample_words(result))
    return [*lines, *_segments(result), *_entities(result), *_worst(result)]


def sample_words(result: WerResult) -> str:
    """Return how much of a run was scored."""
    return (
        f"scored {len(result.scored):,} of {result.n_scorable:,} utterances, a seeded sample; the interval is of these"
    )


def _band(rate: WerRate) -> str:
    return f", {band_of(WER, rate.wer).name}" if rate.wer is not None else ""


def _segments(result: WerResult) -> list[str]:
    lines: list[str] = []
    for wanted in SEGMENTS:
        rows = [(value, rate) for key, value, rate in result.by_segment if key == wanted]
        if wanted == "native" and len(rows) < 2:
            continue
        lines += [_row(f"{wanted} {value}", rate) for value, rate in rows[:_AT_MOST]]
        if len(rows) > _AT_MOST:
            lines.append(f"{_INDENT}and {len(rows) - _AT_MOST} more of {wanted}")
    return lines


def _row(name: str, rate: WerRate) -> str:
    band = band_of(WER, rate.wer).name if rate.wer is not None else ""
    line = f"{_INDENT}{name:<28.28}{percent(rate.wer):>7}  {interval(rate.ci95):<14}{rate.n_words:>6} words  {band}"
    return line.rstrip()


def _entities(result: WerResult) -> list[str]:
    if result.entities is None or not result.entities.overall.n:
        return [f"{_INDENT}entities: {NOT_MEASURED}, no utterance has a number or a name to get right"]
    kinds = [(value, rate) for key, value, rate in result.entities.by_segment if key == ENTITY_TAG]
    lines = [_INDENT + f"entities right {entity_words(result.entities.overall)}"]
    if len(kinds) > 1:
        lines += [f"{_INDENT}  {kind:<26}{entity_words(rate)}" for kind, rate in kinds]
    elif kinds:
        lines[0] += f", all {kinds[0][0]}"
    worst = [f"{one.words} ({one.n_wrong} of {one.n})" for one in result.entities.worst[:3]]
    if worst:
        lines += _wrapped("most often wrong: " + ", ".join(worst))
    return lines


def entity_words(rate: EntityRate) -> str:
    """Return a share of entities with its interval and number."""
    return f"{percent(rate.accuracy)}  95% {interval(rate.ci95)}  {rate.n_right} of {rate.n}"


def _worst(result: WerResult) -> list[str]:
    if not result.worst_utterances:
        return []
    lines: list[str] = []
    for one in result.worst_utterances[:3]:
        heard = one.example.turn.hypothesis or "nothing"
        lines += _wrapped(f"worst: {one.utterance_id} {percent(one.wer)}, heard: {' '.join(heard.split())}")
    words = ", ".join(f"{word.word} ({word.errors} of {word.n})" for word in result.worst_words[:6])
    return [*lines, *(_wrapped(f"words most often missed: {words}") if words else [])]


def intelligibility_lines(found: Intelligibility | None) -> list[str]:
    """Return the line on the agent's own speech."""
    if found is None:
        return [f"{_INDENT}agent's own speech: {NOT_MEASURED} (callquake intelligibility)"]
    lines = _wrapped(found.words)
    for one in found.worst[:2]:
        lines += _wrapped(f"said: {' '.join(one.answer.said.split())} | heard: {' '.join(one.answer.heard.split())}")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "  ", max_lines=2, placeholder=" ..."
    )
