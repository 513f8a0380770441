"""How far WER changed on the same words: utterances heard twice, second minus first, with an interval.

Pairing takes out what makes an utterance hard, so a difference shows on far fewer words than two rates apart would
need. Each side of a pair is the mean over its sayings; sides are pooled over the pairs' words. The interval is a 95 %
percentile bootstrap that draws whole groups of pairs: sentences, or utterances, whose pairs are alike.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.alignment import Alignment
from harness.measure.pooled import MIN_UTTERANCES_FOR_INTERVAL, resamples


@dataclass(frozen=True, slots=True)
class Pair:
    """One utterance heard under two conditions: mean errors a saying, over the same `n_words`."""

    group: Hashable
    n_words: int
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """WER of the second side minus that of the first; None where there is no pair with words."""

    n_pairs: int
    n_groups: int
    # Reference words of the pairs, each counted once.
    n_words: int
    first: float | None
    second: float | None
    value: float | None
    # None: fewer groups than an interval needs.
    ci95: tuple[float, float] | None

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out that there is no difference."""
        return self.ci95 is not None and (self.ci95[0] > 0 or self.ci95[1] < 0)


def pair_of(group: Hashable, first: Sequence[Alignment], second: Sequence[Alignment]) -> Pair | None:
    """Return the pair of two sets of sayings; None where one is empty or their words are not the same."""
    references = {one.reference for one in (*first, *second)}
    if not first or not second or len(references) != 1:
        return None
    return Pair(group, first[0].n_words, _mean(first), _mean(second))


def _mean(sayings: Sequence[Alignment]) -> float:
    return sum(one.errors for one in sayings) / len(sayings)


def difference(pairs: Sequence[Pair], seed: int = 0) -> PairedDifference:
    """Return how far the second sides of `pairs` lie above the first."""
    sums: dict[Hashable, tuple[float, float, int]] = {}
    for pair in pairs:
        first, second, words = sums.get(pair.group, (0.0, 0.0, 0))
        sums[pair.group] = first + pair.first, second + pair.second, words + pair.n_words
    n_words = sum(pair.n_words for pair in pairs)
    if not n_words:
        return PairedDifference(len(pairs), len(sums), 0, None, None, None, None)
    first, second = (sum(each) / n_words for each in ([p.first for p in pairs], [p.second for p in pairs]))
    interval = _interval(np.asarray(list(sums.values()), float), seed)
    return PairedDifference(len(pairs), len(sums), n_words, first, second, second - first, interval)


def _interval(sums: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", seed: int) -> tuple[float, float] | None:
    """Return the interval of (second - first) / words; `sums` has these three of each group, shape (groups, 3)."""
    if len(sums) < MIN_UTTERANCES_FOR_INTERVAL:
        return None
    change, words = sums[:, 1] - sums[:, 0], sums[:, 2]
    drawn = []
    for picks in resamples(len(sums), seed):
        totals = words[picks].sum(axis=1)
        drawn.append(change[picks].sum(axis=1)[totals > 0] / totals[totals > 0])
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
    return float(low), float(high)
