"""The TTFB from which on callers leave more often: the inflection of drop-off over TTFB, or none.

Method, in three steps:
  1. Is there a rise at all? A scan with a permutation test (rise_test.py), at `ALPHA`. Without one: none.
  2. Where does it begin? Rates that stay at a base and then rise by a step, a straight ramp, an exponential or a
     logistic (rise_shapes.py) are fitted at every place; each weighs as its likelihood. The inflection is the place
     around which most of that weight lies, and the interval holds the central 95 % of it. Of a ramp and an exponential
     the place is where the rise begins, of a logistic its middle: where the data do not tell one from the other, the
     inflection lies between the two.
  3. Is it a bend, or a slope all along? Where one smooth curve (a logit straight in TTFB) is clearly better, by
     `SMOOTH_BY` in BIC, there is no inflection: none, though drop-off rises.

It says where callers begin to leave, not why: see the interval, and the shares beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measure.at_least import place
from harness.measure.rise_shapes import Fits, fit, smooth_log_likelihood
from harness.measure.rise_test import p_of_rise

ALPHA = 0.01
# "Very strong evidence" on Kass and Raftery's scale (JASA 90, 1995).
SMOOTH_BY = 10.0
MIN_CALLS = 50
MIN_LEFT = 5
# Fewer calls on one side of a place say nothing of a rate there.
_MIN_SIDE, _MIN_SIDE_SHARE = 10, 0.01
_BIN_MS = 25.0
_MOST_BINS = 160
_TAIL = 0.995
BUCKET_MS = 100.0
# Fits further away than this lend a place no weight.
_REACH_MS = 125.0
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inflection:
    """The finding; `inflection_ms` None = none, `why` says why in a sentence."""

    inflection_ms: float | None
    # 95 % of the weight of all fits.
    interval_ms: tuple[float, float] | None
    # Of "drop-off does not rise with TTFB"; None = too few calls to test.
    p_value: float | None
    # Shares of callers that left below and far above, of the best fit.
    base_ratio: float | None
    top_ratio: float | None
    # "ramp" (a step where its width is 0), "exponential" or "logistic", of the best fit.
    shape: str
    # BIC of one smooth curve less that of the best bend: above 0, the bend explains the calls better.
    over_smooth: float | None
    n: int
    n_left: int
    # Of `n`, calls whose TTFB is only known to be at least something, placed among the others (at_least.py).
    n_at_least: int
    # Beside `n`: those that nothing tells a place for.
    n_unplaced: int
    why: str

    @property
    def bucket_ms(self) -> float | None:
        """The 100 ms bucket the inflection lies in, by its lower edge."""
        return None if self.inflection_ms is None else math.floor(self.inflection_ms / BUCKET_MS) * BUCKET_MS


def find(
    ttfb_ms: Sequence[float] | _Floats,
    left: Sequence[bool],
    at_least: Sequence[bool] | None = None,
    *,
    seed: int = 0,
) -> Inflection:
    """Return the inflection of callers with these TTFBs; `left` says who left early, a value a caller in each.

    `at_least` marks TTFBs that are lower bounds, because an answer never came. Equal input and seed give an equal
    answer. Raises ValueError where the lengths differ or a TTFB is no finite number.
    """
    values, gone, bounds = _checked(ttfb_ms, left, at_least)
    placed = place(values, bounds)
    is_told = ~np.isnan(placed)
    x, hit = placed[is_told], gone[is_told]
    counts = _Counts(len(x), int(hit.sum()), int(bounds[is_told].sum()), int((~is_told).sum()))
    if len(x) < MIN_CALLS:
        return _none(counts, None, f"{len(x)} calls, at least {MIN_CALLS} are needed")
    if min(counts.n_left, len(x) - counts.n_left) < MIN_LEFT:
        few = "left early" if counts.n_left < MIN_LEFT else "stayed"
        return _none(counts, None, f"fewer than {MIN_LEFT} of {len(x)} callers {few}")
    bins = _bin(x, hit)
    p_value = p_of_rise(bins.n, bins.hits, bins.cuts, seed)
    if p_value > ALPHA:
        return _none(counts, p_value, f"drop-off does not rise with TTFB (p {p_value:.2g}, {ALPHA:g} is needed)")
    return _located(bins, counts, p_value)


@dataclass(frozen=True, slots=True)
class _Counts:
    n: int
    n_left: int
    n_at_least: int
    n_unplaced: int


@dataclass(frozen=True, slots=True)
class _Bins:
    """Calls by TTFB; `cuts` are the bins that an upper part may begin with, `edges` the lower edge of each bin."""

    x_ms: _Floats
    n: NDArray[np.int64]
    hits: NDArray[np.int64]
    edges_ms: _Floats
    cuts: NDArray[np.int64]
    width_ms: float


def _checked(
    ttfb_ms: Sequence[float] | _Floats, left: Sequence[bool], at_least: Sequence[bool] | None
) -> tuple[_Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    values = np.asarray(ttfb_ms, dtype=np.float64)
    gone = np.asarray(left, dtype=np.bool_)
    bounds = np.zeros(len(values), np.bool_) if at_least is None else np.asarray(at_least, dtype=np.bool_)
    if not len(values) == len(gone) == len(bounds):
        raise ValueError(f"{len(values)} TTFBs, {len(gone)} ends and {len(bounds)} marks; legal: as many of each")
    if not np.isfinite(values).all():
        raise ValueError("a TTFB is not a finite number; leave out calls without one, or mark them as at_least")
    return values, gone, bounds


def _bin(x: _Floats, hit: NDArray[np.bool_]) -> _Bins:
    low, high = float(x.min()), float(np.quantile(x, _TAIL))
    width = _BIN_MS * max(1, math.ceil((high - low) / _BIN_MS / _MOST_BINS))
    first = math.floor(low / width)
    index = np.minimum(np.floor(x / width).astype(np.int64) - first, math.floor(high / width) - first)
    filled, where = np.unique(index, return_inverse=True)
    n = np.bincount(where, minlength=len(filled))
    hits = np.bincount(where, weights=hit, minlength=len(filled)).astype(np.int64)
    mean = np.bincount(where, weights=x, minlength=len(filled)) / n
    least = max(_MIN_SIDE, math.ceil(_MIN_SIDE_SHARE * len(x)))
    below = np.cumsum(n) - n
    cuts = np.flatnonzero((below >= least) & (len(x) - below >= least))
    return _Bins(mean, n, hits, (filled + first) * width, cuts, width)


def _located(bins: _Bins, counts: _Counts, p_value: float) -> Inflection:
    n, hits = bins.n.astype(np.float64), bins.hits.astype(np.float64)
    fits = fit(bins.x_ms, n, hits, _places(bins), scale=bins.width_ms / _BIN_MS)
    best = int(fits.log_likelihood.argmax())
    smooth = smooth_log_likelihood(bins.x_ms, n, hits)
    # A bend has two parameters more than a straight logit: its place and its width.
    over_smooth = 2 * (float(fits.log_likelihood[best]) - smooth) - 2 * math.log(counts.n)
    if over_smooth < -SMOOTH_BY:
        return _none(counts, p_value, "drop-off rises with TTFB all along, without a bend", over_smooth)
    middle, low, high = _weighted(fits, _REACH_MS * bins.width_ms / _BIN_MS)
    base, top = float(fits.base[best]), float(fits.top[best])
    return Inflection(
        inflection_ms=middle,
        interval_ms=(low, high),
        p_value=p_value,
        base_ratio=base,
        top_ratio=top,
        shape=str(fits.family[best]),
        over_smooth=over_smooth,
        n=counts.n,
        n_left=counts.n_left,
        n_at_least=counts.n_at_least,
        n_unplaced=counts.n_unplaced,
        why="" if over_smooth > 0 else "a smooth rise explains the calls as well: the place is the likeliest bend",
    )


def _places(bins: _Bins) -> _Floats:
    """Return where a rise may begin: every `width` between the outermost cuts, holes between bins included."""
    first, last = float(bins.edges_ms[bins.cuts[0]]), float(bins.edges_ms[bins.cuts[-1]])
    return np.arange(first, last + bins.width_ms / 2, bins.width_ms)


def _weighted(fits: Fits, reach_ms: float) -> tuple[float, float, float]:
    """Return the place with the most weight of the fits around it, and the ends of their central 95 %."""
    places, where = np.unique(fits.place_ms, return_inverse=True)
    raw = fits.prior * np.exp(fits.log_likelihood - fits.log_likelihood.max())
    weight = np.bincount(where, weights=raw, minlength=len(places)) / raw.sum()
    apart = np.abs(places[:, np.newaxis] - places[np.newaxis, :])
    around = np.maximum(0.0, 1.0 - (apart / reach_ms) ** 2) @ weight
    reached = np.cumsum(weight)
    low, high = (float(places[min(int(np.searchsorted(reached, share)), len(places) - 1)]) for share in (0.025, 0.975))
    return float(places[int(around.argmax())]), low, high


def _none(counts: _Counts, p_value: float | None, why: str, over_smooth: float | None = None) -> Inflection:
    return Inflection(
        inflection_ms=None,
        interval_ms=None,
        p_value=p_value,
        base_ratio=None,
        top_ratio=None,
        shape="",
        over_smooth=over_smooth,
        n=counts.n,
        n_left=counts.n_left,
        n_at_least=counts.n_at_least,
        n_unplaced=counts.n_unplaced,
        why=f"none: {why}",
    )
