"""Where a value that is only known to be at least something would have come to lie.

A caller that hangs up while it waits tells that the answer would have taken longer, not how long. Such a value is
placed among the exact ones above its bound, as often in each place as the Kaplan-Meier estimate (JASA 53, 1958) of the
values says: Efron's redistribution to the right (1967). It takes for granted that when a caller hangs up says nothing
of how long the answer would still have taken, beyond that it had not come yet.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0.6180339887498949
_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]


def place(values: Sequence[float] | _Floats, at_least: Sequence[bool] | _Flags) -> _Floats:
    """Return `values` with each that is a bound (`at_least`) replaced by an exact value above it, shape (n,).

    NaN where no exact value lies above the bound, or the estimate does not reach so far: nothing tells. Without
    chance: equal input gives equal output, and bounds that lie side by side spread evenly over what is above them.
    """
    found = np.array(values, dtype=np.float64)
    bounds = np.asarray(at_least, dtype=np.bool_)
    if not bounds.any():
        return found
    exact, survival = _kaplan_meier(found, bounds)
    order = np.flatnonzero(bounds)[np.argsort(found[bounds], kind="stable")]
    before = np.concatenate(([1.0], survival))
    above = before[np.searchsorted(exact, found[order], side="right")]
    share = (np.arange(len(order)) * _GOLDEN + 0.5) % 1.0
    # The first exact value at which survival has fallen to the wanted share of what it was at the bound.
    rank = np.searchsorted(-survival, -(above * (1.0 - share)), side="left")
    is_told = (rank < len(exact)) & (above > 0)
    found[order] = np.where(is_told, exact[np.minimum(rank, len(exact) - 1)] if len(exact) else np.nan, np.nan)
    return found


def _kaplan_meier(values: _Floats, bounds: _Flags) -> tuple[_Floats, _Floats]:
    """Return the distinct exact values, ascending, and the share of values above each."""
    exact, n_here = np.unique(values[~bounds], return_counts=True)
    at_risk = len(values) - np.searchsorted(np.sort(values), exact, side="left")
    survival = np.cumprod(1.0 - n_here / at_risk).astype(np.float64)
    return exact, survival
