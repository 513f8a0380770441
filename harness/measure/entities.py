"""Entity accuracy: was an order number, a date or a name understood, as a whole? One wrong digit makes "4592" wrong.

An agent with 3 % WER may still book the wrong flight, since the words that count are few.

Which entities an utterance has: those that the corpus's manifest names; where it names none, every run of digits in
the normalised reference, decimal points included. A run may stand for several numbers said after another. Left out,
since they are as often plain words: a lone 1 ("one"), a lone 0 ("oh") and ordinals of one digit ("second"). Kinds:
"digits" (figures only), "names" (no figure), "mixed" (a date, an address).

When an entity is right: its normalised words are found in the normalised reference, from left to right. In the
alignment (jiwer) they cover a stretch of the hypothesis, which with the insertions inside and at its two edges must
hold the words unbroken and in order. Where the entity begins or ends with a figure, no figure may touch it there in
the hypothesis that is not itself aligned as equal: "4592" heard as "45921" is wrong.

An entity that is not in its reference's words is not scored, and counted. The interval of a share is Wilson's, which
takes entities for independent; utterances said many times are not quite.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.measure.alignment import EQUAL, INSERT, Alignment
from harness.measure.drop_off import wilson
from harness.measure.normaliser import normalise

DIGITS, NAMES, MIXED = "digits", "names", "mixed"
KINDS = (DIGITS, NAMES, MIXED)
# A word of one digit, and the signs that the normaliser leaves between figures.
_DIGIT = re.compile(r"\d")
_SIGN = re.compile(r"[^\w\s]+")
Words = tuple[str, ...]
_ORDINALS = {("st",), ("nd",), ("rd",), ("th",)}


@dataclass(frozen=True, slots=True)
class HeardEntity:
    """One entity of one saying; `words` and `heard` are normalised, `heard` "" for nothing."""

    words: str
    kind: str
    is_right: bool
    heard: str


@dataclass(frozen=True, slots=True)
class EntityRate:
    """Entities that were right; `accuracy` None where there are none."""

    n: int
    n_right: int
    accuracy: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class MissedEntity:
    """An entity that was misheard: how often, of how many sayings, and as what (most frequent first, "" = nothing)."""

    words: str
    kind: str
    n_wrong: int
    n: int
    heard: tuple[str, ...]


def find(alignment: Alignment, named: Sequence[str]) -> tuple[list[HeardEntity], int]:
    """Return the entities of an aligned utterance, and how many of `named` are not in its reference."""
    reference = alignment.reference
    spans, n_missing = _named(reference, named) if named else (_digit_runs(reference), 0)
    return [_heard(alignment, reference, span) for span in spans], n_missing


def rate_of(entities: Iterable[HeardEntity]) -> EntityRate:
    """Return the share of `entities` that was right."""
    verdicts = [entity.is_right for entity in entities]
    n, right = len(verdicts), sum(verdicts)
    return EntityRate(n, right, right / n if n else None, wilson(right, n))


def worst_of(entities: Iterable[HeardEntity], limit: int = 12) -> list[MissedEntity]:
    """Return the entities most often wrong."""
    n: Counter[tuple[str, str]] = Counter()
    wrong: dict[tuple[str, str], Counter[str]] = {}
    for entity in entities:
        key = (entity.words, entity.kind)
        n[key] += 1
        if not entity.is_right:
            wrong.setdefault(key, Counter())[entity.heard] += 1
    worst = sorted(wrong, key=lambda key: (-wrong[key].total(), -wrong[key].total() / n[key], key))[:limit]
    return [
        MissedEntity(*key, wrong[key].total(), n[key], tuple(heard for heard, _ in wrong[key].most_common(3)))
        for key in worst
    ]


def kind_of(words: Iterable[str]) -> str:
    """Return what an entity of these normalised words is made of."""
    kinds = {bool(_DIGIT.search(word)) for word in words if not _SIGN.fullmatch(word)}
    return MIXED if len(kinds) == 2 else DIGITS if True in kinds else NAMES


def _named(reference: Words, named: Sequence[str]) -> tuple[list[range], int]:
    """Return where each of `named` stands, each behind the last one of equal words, and how many stand nowhere."""
    spans: list[range] = []
    seen: dict[Words, int] = {}
    for text in named:
        words = tuple(normalise(text).split())
        at = _place(words, reference, seen.get(words, 0)) if words else None
        if at is None:
            continue
        seen[words] = at + len(words)
        spans.append(range(at, at + len(words)))
    return spans, len(named) - len(spans)


def _place(words: Words, among: Words, start: int = 0) -> int | None:
    last = len(among) - len(words)
    return next((i for i in range(start, last + 1) if among[i : i + len(words)] == words), None)


def _digit_runs(reference: Words) -> list[range]:
    runs: list[range] = []
    begin = None
    for i, word in enumerate((*reference, "")):
        if _DIGIT.fullmatch(word):
            begin = i if begin is None else begin
        elif begin is not None and not _is_point(reference, i):
            runs.append(range(begin, i))
            begin = None
    return [run for run in runs if not _is_plain_word(reference, run)]


def _is_plain_word(reference: Words, run: range) -> bool:
    """Return whether a single digit may be the pronoun "one", the interjection "oh", or "second" as in a moment."""
    is_ordinal = reference[run.stop : run.stop + 1] in _ORDINALS
    return len(run) == 1 and (reference[run.start] in {"0", "1"} or is_ordinal)


def _is_point(words: Words, at: int) -> bool:
    """Return whether a decimal point stands there, with a figure before and behind it."""
    return words[at : at + 1] == (".",) and bool(_DIGIT.fullmatch("".join(words[at + 1 : at + 2])))


def _heard(alignment: Alignment, reference: Words, span: range) -> HeardEntity:
    words = reference[span.start : span.stop]
    hypothesis = alignment.hypothesis
    stretch, is_equal = _stretch(alignment, span), _equal_places(alignment)
    heard = hypothesis[stretch.start : stretch.stop]
    is_right = any(
        heard[i : i + len(words)] == words
        and not _is_figure(words[0], hypothesis, stretch.start + i - 1, is_equal, stretch)
        and not _is_figure(words[-1], hypothesis, stretch.start + i + len(words), is_equal, stretch)
        for i in range(len(heard) - len(words) + 1)
    )
    return HeardEntity(" ".join(words), kind_of(words), is_right, " ".join(heard))


def _is_figure(edge: str, hypothesis: Words, at: int, is_equal: set[int], stretch: range) -> bool:
    """Return whether a figure that is not in the reference there touches an entity whose edge is a figure."""
    if not _DIGIT.fullmatch(edge) or not 0 <= at < len(hypothesis) or not _DIGIT.fullmatch(hypothesis[at]):
        return False
    return at in stretch or at not in is_equal


def _stretch(alignment: Alignment, span: range) -> range:
    """Return the places of the hypothesis that an entity at `span` of the reference covers, insertions included."""
    begin = end = None
    at_reference = at_hypothesis = 0
    for edit in alignment.edits:
        n_reference, n_hypothesis = len(edit.reference), len(edit.hypothesis)
        if edit.kind == INSERT:
            covers = span.start <= at_reference <= span.stop
            first, last = at_hypothesis, at_hypothesis + n_hypothesis
        else:
            low, high = max(span.start, at_reference), min(span.stop, at_reference + n_reference)
            covers = low < high
            step = 1 if n_hypothesis else 0
            first = at_hypothesis + (low - at_reference) * step
            last = at_hypothesis + (high - at_reference) * step
        if covers:
            begin, end = (first if begin is None else begin), last
        at_reference += n_reference
        at_hypothesis += n_hypothesis
    return range(begin or 0, end or 0)


def _equal_places(alignment: Alignment) -> set[int]:
    """Return the places of the hypothesis whose word is the reference's."""
    places: set[int] = set()
    at = 0
    for edit in alignment.edits:
        if edit.kind == EQUAL:
            places.update(range(at, at + len(edit.hypothesis)))
        at += len(edit.hypothesis)
    return places


def by_kind(entities: Sequence[HeardEntity]) -> Mapping[str, EntityRate]:
    """Return the rate of each kind that occurs."""
    rates = {kind: rate_of(e for e in entities if e.kind == kind) for kind in KINDS}
    return {kind: rate for kind, rate in rates.items() if rate.n}
