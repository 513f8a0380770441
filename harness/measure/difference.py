"""How far two groups of calls lie apart, second minus first, with a 95 % interval where there is enough to say so.

Quantiles and WER: a percentile bootstrap that draws whole calls, each group on its own, for the turns of a call are
alike. A turn without an answer enters as the span from its wait to infinity, so that the interval holds the truth
whatever it would have been, and may be open at an end. A quantile needs as many samples in both groups as an interval
of the quantile itself does (distribution.py), and `MIN_CALLS` calls.

Shares (of turns answered, of calls dropped): Newcombe's score interval (Statistics in Medicine 17, 1998, method 10),
from the Wilson intervals of both; it takes turns for independent. A bootstrap of 0 in 12 would know no doubt at all.
"""

import math
from collections.abc import Sequence
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
    """Calls with the spans of their values; calls without any do not count."""

    def __init__(self, calls: Sequence[Sequence[Span]]) -> None:
        spoken = [spans for spans in calls if spans]
        self.n_calls = len(spoken)
        owners = np.repeat(np.arange(self.n_calls), [len(spans) for spans in spoken]).astype(np.int64)
        self.n = len(owners)
        least, most = ([span[end] for spans in spoken for span in spans] for end in (0, 1))
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
    values = [_value(low[0], high[0]) for low, high in _spans(first, second, qs, None, 1)]
    reasons = [_too_few(first, second, least_samples(q)) for q in qs]
    if all(reasons):
        return [Difference(value, why=why) for value, why in zip(values, reasons, strict=True)]
    rng = np.random.default_rng(seed)
    drawn = [_spans(first, second, qs, rng, rows) for rows in _chunks(max(first.n, second.n))]
    found = []
    for i, (value, why) in enumerate(zip(values, reasons, strict=True)):
        low, high = _ends(*(np.concatenate([spans[i][end] for spans in drawn]) for end in (0, 1)))
        is_open = "" if value is not None else "unanswered turns leave the value open"
        found.append(Difference(value, why=why) if why else Difference(value, low, high, is_open))
    return found


def _spans(
    first: Group, second: Group, qs: Sequence[float], rng: np.random.Generator | None, rows: int
) -> list[tuple[_Floats, _Floats]]:
    """Return the least and most that each difference can be, in `rows` draws of calls; as they are without `rng`."""
    low_1, high_1 = first.quantiles(qs, _draw(rng, rows, first.n_calls))
    low_2, high_2 = second.quantiles(qs, _draw(rng, rows, second.n_calls))
    ends = zip(low_1, high_1, low_2, high_2, strict=True)
    return [
        (second_low - first_high, second_high - first_low) for first_low, first_high, second_low, second_high in ends
    ]


def _value(low: float, high: float) -> float | None:
    return float(low) if low == high else None


def of_pooled(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]], seed: int = 0) -> Difference:
    """Return how far sum(hits) / sum(of) of `second` lies above that of `first`; a pair (hits, of) for each call."""
    pairs = [
        np.asarray([pair for pair in group if pair[1]], dtype=np.int64).reshape(-1, 2) for group in (first, second)
    ]
    if not all(len(group) for group in pairs):
        return Difference(None, why=_ON_BOTH)
    ours, theirs = (float(group[:, 0].sum() / group[:, 1].sum()) for group in pairs)
    least = min(len(group) for group in pairs)
    if least < MIN_CALLS:
        return Difference(theirs - ours, why=f"not enough data: {least} calls, at least {MIN_CALLS} are needed")
    rng = np.random.default_rng(seed)
    found: list[_Floats] = []
    for rows in _chunks(max(len(group) for group in pairs)):
        rates = [(sums := _draw(rng, rows, len(group)) @ group)[:, 0] / sums[:, 1] for group in pairs]
        found.append(rates[1] - rates[0])
    differences = np.concatenate(found)
    low, high = _ends(differences, differences)
    return Difference(theirs - ours, low, high)


def of_shares(first: tuple[int, int], second: tuple[int, int]) -> Difference:
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
    samples, calls = min(first.n, second.n), min(first.n_calls, second.n_calls)
    if samples < needed:
        return f"not enough data: {samples} samples, at least {needed} are needed"
    if calls < MIN_CALLS:
        return f"not enough data: {calls} calls, at least {MIN_CALLS} are needed"
    return ""


def _chunks(n: int) -> list[int]:
    """Return how many draws to make at once, so that no array grows beyond measure."""
    rows = max(1, _CHUNK // n)
    return [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]


def _draw(rng: np.random.Generator | None, rows: int, n: int) -> _Counts:
    """Return how often each of `n` calls comes up, in `rows` draws of `n` with replacement; without `rng` once."""
    return np.ones((rows, n), dtype=np.int64) if rng is None else rng.multinomial(n, np.full(n, 1 / n), rows)


def _ends(lows: _Floats, highs: _Floats) -> tuple[float, float]:
    """Return the interval's ends; by order alone, for infinities cannot be averaged."""
    tail = (1 - CONFIDENCE) / 2
    last = len(lows) - 1
    low = np.sort(lows)[math.floor(tail * last)]
    return float(low), float(np.sort(highs)[math.ceil((1 - tail) * last)])
