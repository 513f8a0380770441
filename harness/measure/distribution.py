"""Percentiles of a sample in which some values are only known to be at least something (right-censored).

A turn that was never answered has no TTFB, but its TTFB is at least the time waited. Every figure is therefore an
`Estimate`: an interval that holds the truth. `value` is its lower end, computed with each censored value standing for
its bound; `upper` is its upper end, computed with each censored value standing for infinity. They coincide when no
censored value can move the figure. Nothing is assumed about why a value is censored: callers hang up *because* they
wait, so the usual survival estimators (which need independent censoring) would flatter the agent.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure known to lie in `value`..`upper`; `upper` None means without bound."""

    value: float
    upper: float | None

    @property
    def is_lower_bound(self) -> bool:
        """True when the truth may be above `value`."""
        return self.upper is None or self.upper > self.value


def nearest_rank(q: float, n: int) -> int:
    """Return the 1-based nearest rank of quantile `q` (0..1) in `n` values; products like 0.07 * 100 are cleaned."""
    return min(n, max(1, math.ceil(round(q * n, 9))))


class Sample:
    """Observed values and lower bounds of censored ones, in one unit; figures are exact, not bucketed."""

    def __init__(self, observed: Iterable[float], censored: Iterable[float] = ()) -> None:
        self.observed = sorted(observed)
        self.censored = sorted(censored)
        self._bounds = sorted([*self.observed, *self.censored])

    @property
    def n(self) -> int:
        """Number of values, censored ones included."""
        return len(self._bounds)

    @property
    def response_ratio(self) -> float | None:
        """Share of values that were observed, None when there are none."""
        return len(self.observed) / self.n if self.n else None

    def percentile(self, q: float) -> Estimate | None:
        """Return quantile `q` (0..1) by nearest rank, None when the sample is empty."""
        return self._at_rank(nearest_rank(q, self.n)) if self.n else None

    def minimum(self) -> Estimate | None:
        """Return the smallest value."""
        return self._at_rank(1) if self.n else None

    def maximum(self) -> Estimate | None:
        """Return the largest value."""
        return self._at_rank(self.n) if self.n else None

    def mean(self) -> Estimate | None:
        """Return the mean; a lower bound as soon as one value is censored."""
        if not self.n:
            return None
        value = math.fsum(self._bounds) / self.n
        return Estimate(value, None if self.censored else value)

    def interval(self, q: float) -> tuple[float, float | None] | None:
        """Return the distribution-free confidence interval of quantile `q`, from two order statistics.

        None when the sample is too small to hold one. The upper end is None where censoring leaves it unbounded.
        """
        ranks = interval_ranks(q, self.n)
        if ranks is None:
            return None
        return self._at_rank(ranks[0]).value, self._at_rank(ranks[1]).upper

    def _at_rank(self, rank: int) -> Estimate:
        upper = self.observed[rank - 1] if rank <= len(self.observed) else None
        return Estimate(self._bounds[rank - 1], upper)


def interval_ranks(q: float, n: int, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Return 1-based ranks (l, u) with P(X(l) <= quantile <= X(u)) >= `confidence` for any distribution.

    The number of values below the quantile is Binomial(n, q); each tail keeps at most half of 1 - confidence.
    None when even the smallest or largest value does not reach far enough.
    """
    if n == 0 or not 0 < q < 1:
        return None
    tail = (1 - confidence) / 2
    cdf = _binomial_cdf(n, q)
    # P(count <= l - 1) <= tail: the lower rank may be as high as the tail allows.
    lower = int(np.searchsorted(cdf, tail, side="right"))
    # P(count >= u) <= tail, that is P(count <= u - 1) >= 1 - tail.
    upper = int(np.searchsorted(cdf, 1 - tail, side="left")) + 1
    return (lower, upper) if lower >= 1 and upper <= n else None


def _binomial_cdf(n: int, q: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return P(X <= k) for k = 0..n, X ~ Binomial(n, q), summed from logarithms so that large n do not underflow."""
    k = np.arange(1, n + 1, dtype=np.float64)
    steps = np.log((n - k + 1) / k) + math.log(q) - math.log1p(-q)
    log_pmf = n * math.log1p(-q) + np.concatenate(([0.0], np.cumsum(steps)))
    cdf: np.ndarray[tuple[int], np.dtype[np.float64]] = np.minimum(np.cumsum(np.exp(log_pmf)), 1.0)
    return cdf
