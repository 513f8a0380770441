"""Where to look first: the utterances and the words that were most often not understood."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.measure.alignment import DELETE, SUBSTITUTE, Alignment

A = TypeVar("A", bound=Alignment)


@dataclass(frozen=True, slots=True)
class WordErrors:
    """A reference word that was often not understood."""

    word: str
    errors: int
    n: int
    # What was heard instead, most frequent first; "" for nothing.
    heard: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorstUtterance(Generic[A]):
    """An utterance over all its sayings; `example` is the saying with most errors."""

    utterance_id: str
    n: int
    n_wrong: int
    errors: int
    n_words: int
    example: A

    @property
    def wer(self) -> float | None:
        """Pooled over the sayings; None where the utterance holds no word after normalisation."""
        return self.errors / self.n_words if self.n_words else None


def worst_utterances(scored: Iterable[A], owner: Callable[[A], str], limit: int = 12) -> list[WorstUtterance[A]]:
    """Return the utterances with the highest pooled WER, only those with an error; of equal ones the longer first."""
    sayings: dict[str, list[A]] = {}
    for one in scored:
        sayings.setdefault(owner(one), []).append(one)
    found = [_pooled(utterance, all_) for utterance, all_ in sayings.items()]
    wrong = [one for one in found if one.errors]
    return sorted(wrong, key=lambda one: (-one.errors / max(1, one.n_words), -one.errors, one.utterance_id))[:limit]


def _pooled(utterance: str, sayings: Sequence[A]) -> WorstUtterance[A]:
    return WorstUtterance(
        utterance_id=utterance,
        n=len(sayings),
        n_wrong=sum(one.errors > 0 for one in sayings),
        errors=sum(one.errors for one in sayings),
        n_words=sum(one.n_words for one in sayings),
        example=max(sayings, key=lambda one: one.errors),
    )


def worst_words(scored: Iterable[Alignment], limit: int = 12) -> list[WordErrors]:
    """Return the reference words most often substituted or deleted."""
    seen: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    heard: dict[str, Counter[str]] = {}
    for edit in (e for s in scored for e in s.edits):
        seen.update(edit.reference)
        if edit.kind not in {SUBSTITUTE, DELETE}:
            continue
        instead = edit.hypothesis or ("",) * len(edit.reference)
        for word, other in zip(edit.reference, instead, strict=True):
            missed[word] += 1
            heard.setdefault(word, Counter())[other] += 1
    worst = sorted(missed, key=lambda w: (-missed[w], -missed[w] / seen[w], w))[:limit]
    return [WordErrors(w, missed[w], seen[w], tuple(h for h, _ in heard[w].most_common(3))) for w in worst]
