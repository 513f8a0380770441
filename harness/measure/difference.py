"""How far two groups of calls lie apart, second minus first, with a 95 % interval where there is enough to say so.

Quantiles and WER: a percentile bootstrap that draws whole calls, for the turns of a call are alike, and calls with one
story (the same caller and words, in either group) together, so that what makes a story slow in both is in no
difference. A turn without an answer enters as the span from its wait to infinity, so that the interval holds the truth
whatever it would have been, and may be open at an end. A quantile needs as many samples in both groups as an interval
of the quantile itself does (distribution.py), and `MIN_CALLS` calls.

Shares (of turns answered, of calls dropped): Newcombe's score interval (Statistics in Medicine 17, 1998, method 10),
from the Wilson intervals of both; it takes turns for independent. A bootstrap of 0 in 12 would know no doubt at all.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measure.distribution import CONFIDENCE
from harness.measure.drop_off import wilson

RESAMPLES = 1_000
MIN_CALLS = 5
MIN_SHARE_SAMPLES = 5
_CHUNK = 500_000
# Least and most that a value can be.
Span = tuple[float, float]
# So many of so many.
Hits = tuple[int, int]
# Calls of one story are alike but for their group.
Story = Hashable
_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]
_ON_BOTH = "not measured on both"


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of the second group minus that of the first; `value` None = not measured, or not decided.

    `low` and `high` are the ends of the interval, infinite where it is open; None when there is none, and `why` says
    why.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out that there is no difference."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def least_samples(q: float) -> int:
    """Return how many samples an interval of quantile `q` needs."""
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(max(q, 1 - q)))


class Group:
    """Calls by their story, with the spans of their values; calls without any do not count."""

    def __init__(self, calls: Mapping[Story, Sequence[Span]]) -> None:
        spoken = {story: spans for story, spans in calls.items() if spans}
        self.stories = list(spoken)
        owners = np.repeat(np.arange(len(spoken)), [len(spans) for spans in spoken.values()]).astype(np.int64)
        self.n = len(owners)
        least, most = ([span[end] for spans in spoken.values() for span in spans] for end in (0, 1))
        # Values in order, with the call of each: the least they can be and, where that is another, the most.
        self._ends = [_sorted(values, owners) for values in ((least,) if least == most else (least, most))]

    def quantiles(self, qs: Sequence[float], counts: _Counts) -> tuple[list[_Floats], list[_Floats]]:
        """Return the least and the most that each quantile can be, of each row of `counts`: how often a call counts.

        Nearest rank, as everywhere.
        """
        found: list[list[_Floats]] = []
        for values, owners in self._ends:
            reached = np.cumsum(counts[:, owners], axis=1)
            ranks = [np.maximum(1, np.ceil(np.round(q * reached[:, -1:], 9))) for q in qs]
            found.append([values[np.minimum((reached < rank).sum(axis=1), self.n - 1)] for rank in ranks])
        return found[0], found[-1]


def _sorted(values: Sequence[float], owners: _Counts) -> tuple[_Floats, _Counts]:
    array = np.asarray(values, dtype=np.float64)
    order = np.argsort(array, kind="stable")
    return array[order], owners[order]


def of_quantiles(first: Group, second: Group, qs: Sequence[float], seed: int = 0) -> list[Difference]:
    """Return how far each of the quantiles `qs` of `second` lies above that of `first`."""
    if not first.n or not second.n:
        return [Difference(None, why=_ON_BOTH) for _ in qs]
    once = np.ones((1, len(first.stories)), np.int64), np.ones((1, len(second.stories)), np.int64)
    values = [_value(low[0], high[0]) for low, high in _spans(first, second, qs, once)]
    reasons = [_too_few(first, second, least_samples(q)) for q in qs]
    if all(reasons):
        return [Difference(value, why=why) for value, why in zip(values, reasons, strict=True)]
    rng = np.random.default_rng(seed)
    pairs = _Pairs(first.stories, second.stories)
    drawn = [_spans(first, second, qs, pairs.draw(rng, rows)) for rows in _chunks(max(first.n, second.n))]
    found = []
    for i, (value, why) in enumerate(zip(values, reasons, strict=True)):
        low, high = _ends(*(np.concatenate([spans[i][end] for spans in drawn]) for end in (0, 1)))
        is_open = "" if value is not None else "unanswered turns leave the value open"
        found.append(Difference(value, why=why) if why else Difference(value, low, high, is_open))
    return found


def _spans(
    first: Group, second: Group, qs: Sequence[float], counts: tuple[_Counts, _Counts]
) -> list[tuple[_Floats, _Floats]]:
    """Return the least and the most that each difference can be, a value for each row of `counts`."""
    low_1, high_1 = first.quantiles(qs, counts[0])
    low_2, high_2 = second.quantiles(qs, counts[1])
    ends = zip(low_1, high_1, low_2, high_2, strict=True)
    return [
        (second_low - first_high, second_high - first_low) for first_low, first_high, second_low, second_high in ends
    ]


def _value(low: float, high: float) -> float | None:
    return float(low) if low == high else None


def of_pooled(first: Mapping[Story, Hits], second: Mapping[Story, Hits], seed: int = 0) -> Difference:
    """Return how far sum(hits) / sum(of) of `second` lies above that of `first`; of each call by its story."""
    groups = [{story: hits for story, hits in group.items() if hits[1]} for group in (first, second)]
    if not all(groups):
        return Difference(None, why=_ON_BOTH)
    tables = [np.asarray(list(group.values()), dtype=np.int64) for group in groups]
    ours, theirs = (float(table[:, 0].sum() / table[:, 1].sum()) for table in tables)
    least = min(map(len, groups))
    if least < MIN_CALLS:
        return Difference(theirs - ours, why=f"not enough data: {least} calls, at least {MIN_CALLS} are needed")
    rng, pairs = np.random.default_rng(seed), _Pairs(list(groups[0]), list(groups[1]))
    found: list[_Floats] = []
    for rows in _chunks(max(map(len, groups))):
        sums = [counts @ table for counts, table in zip(pairs.draw(rng, rows), tables, strict=True)]
        found.append(sums[1][:, 0] / sums[1][:, 1] - sums[0][:, 0] / sums[0][:, 1])
    differences = np.concatenate(found)
    low, high = _ends(differences, differences)
    return Difference(theirs - ours, low, high)


def of_shares(first: Hits, second: Hits) -> Difference:
    """Return how far the share of `second` lies above that of `first`; both are (hits, of)."""
    ends = [wilson(hits, n) for hits, n in (first, second)]
    if ends[0] is None or ends[1] is None:
        return Difference(None, why=_ON_BOTH)
    ours, theirs = first[0] / first[1], second[0] / second[1]
    least = min(first[1], second[1])
    if least < MIN_SHARE_SAMPLES:
        why = f"not enough data: {least} samples, at least {MIN_SHARE_SAMPLES} are needed"
        return Difference(theirs - ours, why=why)
    below = math.hypot(theirs - ends[1][0], ends[0][1] - ours)
    above = math.hypot(ends[1][1] - theirs, ours - ends[0][0])
    return Difference(theirs - ours, theirs - ours - below, theirs - ours + above)


def _too_few(first: Group, second: Group, needed: int) -> str:
    samples, calls = min(first.n, second.n), min(len(first.stories), len(second.stories))
    if samples < needed:
        return f"not enough data: {samples} samples, at least {needed} are needed"
    if calls < MIN_CALLS:
        return f"not enough data: {calls} calls, at least {MIN_CALLS} are needed"
    return ""


def _chunks(n: int) -> list[int]:
    """Return how many draws to make at once, so that no array grows beyond measure."""
    rows = max(1, _CHUNK // n)
    return [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]


class _Pairs:
    """Which calls of two groups have one story; draws those together, and the others of each group on their own."""

    def __init__(self, first: Sequence[Story], second: Sequence[Story]) -> None:
        both = set(first) & set(second)
        places = [{story: i for i, story in enumerate(group)} for group in (first, second)]
        shared = [story for story in first if story in both]
        self._paired = [[at[story] for story in shared] for at in places]
        self._alone = [[i for story, i in at.items() if story not in both] for at in places]

    def draw(self, rng: np.random.Generator, rows: int) -> tuple[_Counts, _Counts]:
        """Return how often each call of either group comes up, in `rows` draws with replacement of as many as exist."""
        together = _draw(rng, rows, len(self._paired[0]))
        first, second = (
            self._of_one(together, paired, alone, rng) for paired, alone in zip(self._paired, self._alone, strict=True)
        )
        return first, second

    def _of_one(self, together: _Counts, paired: list[int], alone: list[int], rng: np.random.Generator) -> _Counts:
        counts = np.zeros((len(together), len(paired) + len(alone)), dtype=np.int64)
        counts[:, paired] = together
        counts[:, alone] = _draw(rng, len(together), len(alone))
        return counts


def _draw(rng: np.random.Generator, rows: int, n: int) -> _Counts:
    return rng.multinomial(n, np.full(n, 1 / n), rows) if n else np.zeros((rows, 0), dtype=np.int64)


def _ends(lows: _Floats, highs: _Floats) -> tuple[float, float]:
    """Return the interval's ends; by order alone, for infinities cannot be averaged."""
    tail = (1 - CONFIDENCE) / 2
    last = len(lows) - 1
    low = np.sort(lows)[math.floor(tail * last)]
    return float(low), float(np.sort(highs)[math.ceil((1 - tail) * last)])
