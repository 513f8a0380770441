"""Word errors of many utterances as one rate: added up first and divided once, with an interval.

The interval is a 95 % percentile bootstrap that draws whole utterances of the corpus, each with all its sayings: a
recogniser that hears a clip wrongly does so whenever the clip is played, so the hundredth saying of it tells little
that the first did not. Where every utterance was said once, sayings and utterances are the same.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measure.alignment import Alignment

RESAMPLES = 1_000
# Below this many utterances a bootstrap says more about luck than about the agent.
MIN_UTTERANCES_FOR_INTERVAL = 5
_CHUNK = 500_000


@dataclass(frozen=True, slots=True)
class WerRate:
    """Pooled counts of a set of sayings; `wer` None when they hold no reference word."""

    # Sayings, that is turns.
    n_utterances: int
    # Different utterances among them, which the interval draws.
    n_clips: int
    n_words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float | None
    ci95: tuple[float, float] | None


def pool(alignments: Sequence[Alignment], owners: Sequence[Hashable], seed: int = 0) -> WerRate:
    """Add up the counts of `alignments`; `owners` names the utterance of each."""
    words = sum(a.n_words for a in alignments)
    sums: dict[Hashable, list[int]] = {}
    for owner, one in zip(owners, alignments, strict=True):
        both = sums.setdefault(owner, [0, 0])
        both[0] += one.errors
        both[1] += one.n_words
    return WerRate(
        n_utterances=len(alignments),
        n_clips=len(sums),
        n_words=words,
        substitutions=sum(a.substitutions for a in alignments),
        deletions=sum(a.deletions for a in alignments),
        insertions=sum(a.insertions for a in alignments),
        wer=sum(a.errors for a in alignments) / words if words else None,
        ci95=bootstrap([errors for errors, _ in sums.values()], [n for _, n in sums.values()], seed),
    )


def bootstrap(errors: Sequence[float], words: Sequence[float], seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of sum(errors) / sum(words); a value an utterance in each.

    Equal input and seed give an equal interval. None below `MIN_UTTERANCES_FOR_INTERVAL` utterances.
    """
    if len(words) < MIN_UTTERANCES_FOR_INTERVAL:
        return None
    error_counts, word_counts = np.asarray(errors, float), np.asarray(words, float)
    rates: list[NDArray[np.float64]] = []
    for picks in resamples(len(words), seed):
        totals = word_counts[picks].sum(axis=1)
        rates.append(error_counts[picks].sum(axis=1)[totals > 0] / totals[totals > 0])
    drawn = np.concatenate(rates)
    if not drawn.size:
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def resamples(n: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw `n` out of `n` with replacement, `RESAMPLES` times: indices, shape (draws, n), in parts that fit memory."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    for start in range(0, RESAMPLES, rows):
        yield rng.integers(0, n, (min(rows, RESAMPLES - start), n))
