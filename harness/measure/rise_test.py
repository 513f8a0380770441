"""Does a share rise with a value at all? A scan over every place where it could begin to, tested by permutation.

The statistic is the largest log-likelihood ratio of "one rate below, a higher one above" against "one rate". Shuffling
who left over who waited how long gives its distribution when the two have nothing to do with each other, with no
formula that would need many calls: rare events and heavy tails are taken as they are (Kulldorff's scan, 1997, in one
dimension). A rate that falls, or rises and falls again below its start, is no rise.
"""

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 999
_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


def p_of_rise(n: _Counts, hits: _Counts, cuts: _Counts, seed: int = 0) -> float:
    """Return the permutation p-value of a rise; `n` and `hits` by bin in ascending order, shape (bins,).

    `cuts` are the bins that the upper part may begin with. 1.0 where nothing can rise.
    """
    total, of = int(hits.sum()), int(n.sum())
    if not len(cuts) or total in {0, of}:
        return 1.0
    seen = float(_largest(n, hits[np.newaxis, :], cuts)[0])
    if seen <= 0:
        return 1.0
    rng = np.random.default_rng(seed)
    # Marginals: each draw costs a step a bin, however many calls there are.
    drawn = rng.multivariate_hypergeometric(n, total, size=PERMUTATIONS, method="marginals")
    # A tie counts against the rise; rounding must not make one of them smaller.
    return float((1 + (_largest(n, drawn, cuts) >= seen - 1e-9).sum()) / (1 + PERMUTATIONS))


def _largest(n: _Counts, hits: _Counts, cuts: _Counts) -> _Floats:
    """Return the scan statistic of each row of `hits`, shape (rows,)."""
    below_n = np.cumsum(n)[cuts - 1].astype(np.float64)
    above_n = n.sum() - below_n
    below = np.cumsum(hits, axis=1)[:, cuts - 1].astype(np.float64)
    above = hits.sum(axis=1, keepdims=True) - below
    total, of = hits.sum(axis=1, keepdims=True).astype(np.float64), float(n.sum())
    ratio = _log_likelihood(below, below_n) + _log_likelihood(above, above_n) - _log_likelihood(total, of)
    found: _Floats = np.where(above / above_n > below / below_n, ratio, 0.0).max(axis=1)
    return found


def _log_likelihood(hits: _Floats, n: _Floats | float) -> _Floats:
    """Return the largest binomial log-likelihood of `hits` in `n`, without the constant; 0 log 0 is 0."""
    rate = hits / n
    with np.errstate(divide="ignore", invalid="ignore"):
        found: _Floats = np.nan_to_num(hits * np.log(rate)) + np.nan_to_num((n - hits) * np.log1p(-rate))
    return found
