"""Shapes of a rate that is low, then rises: how well each fits counts by bin, for every place of the rise at once.

The rate of a bin is b (1 - G) + t G: from a base rate b up to a top rate t along a shape G in 0..1, which is

  ramp         0 before the knee, 1 after it and a width more, straight between; width 0 is a step
  exponential  0 before the knee, then growing by e each scale, for some scales; 1 from there on
  logistic     1 / (1 + exp(-(x - middle) / scale)); its inflection is the middle

For a given shape the likelihood is concave in b and t, so it is maximised exactly (Fisher scoring of a binomial model
with identity link) for all shapes side by side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RAMP, EXPONENTIAL, LOGISTIC = "ramp", "exponential", "logistic"
# Width or scale in ms, after how many scales an exponential ends, and what the shape weighs before anything is seen.
# A wide logistic weighs little: it differs from a wide ramp by where its inflection is said to be, and hardly by data.
_KINDS: tuple[tuple[str, float, float, float], ...] = (
    *(
        (RAMP, width, 0.0, weight)
        for width, weight in zip((0, 50, 100, 200, 300, 400), (6, 2, 2, 2, 2, 2), strict=True)
    ),
    *((RAMP, width, 0.0, 1.5) for width in (600.0, 900.0, 1600.0)),
    *((EXPONENTIAL, scale, end, 0.2) for scale in (75, 100, 150, 200, 300) for end in (1.5, 3.0, 4.5)),
    *(
        (LOGISTIC, scale, 0.0, weight)
        for scale, weight in zip((15, 30, 50, 75, 100), (3, 5, 4, 0.1, 0.01), strict=True)
    ),
)
_ITERATIONS = 12
_LEAST, _MOST = 1e-5, 1.0 - 1e-5
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fits:
    """Every shape at every place; all arrays have shape (fits,)."""

    family: NDArray[np.str_]
    place_ms: _Floats
    width_ms: _Floats
    # Weight of the fit before anything is seen.
    prior: _Floats
    base: _Floats
    top: _Floats
    log_likelihood: _Floats


def fit(x_ms: _Floats, n: _Floats, hits: _Floats, places_ms: _Floats, scale: float = 1.0) -> Fits:
    """Fit every shape at each of `places_ms`; `x_ms`, `n` and `hits` are each bin's mean, calls and drop-offs.

    `scale` multiplies the widths, for bins that are wider than usual.
    """
    families, widths, priors, shapes = [], [], [], []
    past = x_ms[np.newaxis, :] - places_ms[:, np.newaxis]
    for family, width, end, weight in _KINDS:
        families += [family] * len(places_ms)
        widths.append(np.full(len(places_ms), width * scale))
        priors.append(np.full(len(places_ms), weight))
        shapes.append(_shape(family, past, width * scale, end))
    base, top, log_likelihood = _maximise(np.concatenate(shapes), n, hits)
    return Fits(
        family=np.asarray(families),
        place_ms=np.tile(places_ms, len(shapes)),
        width_ms=np.concatenate(widths),
        prior=np.concatenate(priors),
        base=base,
        top=top,
        log_likelihood=log_likelihood,
    )


def _shape(family: str, past: _Floats, width: float, end: float) -> _Floats:
    """Return G of every bin; `past` is how far it lies behind the place, shape (places, bins)."""
    if family == RAMP:
        ramp: _Floats = (past >= 0).astype(np.float64) if width == 0 else np.clip(past / width, 0.0, 1.0)
        return ramp
    if family == LOGISTIC:
        logistic: _Floats = 1.0 / (1.0 + np.exp(-np.clip(past / width, -40.0, 40.0)))
        return logistic
    exponential: _Floats = np.expm1(np.clip(past / width, 0.0, end)) / np.expm1(end)
    return exponential


def _maximise(shape: _Floats, n: _Floats, hits: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Return the best base, top and log-likelihood of each row of `shape`, with base <= top."""
    overall = float(hits.sum() / n.sum())
    base = np.full(len(shape), max(_LEAST, overall / 2))
    top = np.full(len(shape), min(_MOST, 2 * overall))
    share = hits / n
    low = 1.0 - shape
    for _ in range(_ITERATIONS):
        weight = n / _spread(_rate(shape, base, top))
        below, above = weight * low, weight * shape
        a, b, c = (below * low).sum(1), (below * shape).sum(1), (above * shape).sum(1)
        u, v = below @ share, above @ share
        determinant = a * c - b * b
        is_told = determinant > 1e-9 * a * c
        safe = np.where(is_told, determinant, 1.0)
        base = np.clip(np.where(is_told, (u * c - v * b) / safe, base), _LEAST, _MOST)
        top = np.clip(np.where(is_told, (a * v - b * u) / safe, top), base, _MOST)
    rate = _rate(shape, base, top)
    return base, top, np.log(rate) @ hits + np.log1p(-rate) @ (n - hits)


def _rate(shape: _Floats, base: _Floats, top: _Floats) -> _Floats:
    found: _Floats = np.clip(base[:, np.newaxis] + (top - base)[:, np.newaxis] * shape, _LEAST, _MOST)
    return found


def _spread(rate: _Floats) -> _Floats:
    return rate * (1.0 - rate)


def smooth_log_likelihood(x_ms: _Floats, n: _Floats, hits: _Floats) -> float:
    """Return the log-likelihood of the best smooth rise: a logit that is straight in x, by Newton's method."""
    middle = float(np.average(x_ms, weights=n))
    scale = float(np.sqrt(np.average((x_ms - middle) ** 2, weights=n))) or 1.0
    design = np.stack([np.ones_like(x_ms), (x_ms - middle) / scale], axis=1)
    overall = float(np.clip(hits.sum() / n.sum(), _LEAST, _MOST))
    beta = np.array([np.log(overall / (1 - overall)), 0.0])
    for _ in range(30):
        rate = _logistic(design @ beta)
        weight = np.maximum(n * _spread(rate), 1e-12)
        step = np.linalg.solve(design.T @ (weight[:, np.newaxis] * design), design.T @ (hits - n * rate))
        beta = beta + np.clip(step, -2.0, 2.0)
    rate = np.clip(_logistic(design @ beta), _LEAST, _MOST)
    return float(np.log(rate) @ hits + np.log1p(-rate) @ (n - hits))


def _logistic(x: _Floats) -> _Floats:
    found: _Floats = 1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))
    return found
