"""The slope of a series by Theil and Sen: the median of the slopes of all pairs, which a few wild points do not move.

Its 95 % interval is Sen's, by the variance of Kendall's S with ties (P. K. Sen, JASA 63, 1968, 1379-1389). It takes the
points for independent: of samples that follow each other closely, give medians of stretches.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.measure.drop_off import Z95

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Slope:
    """Change of y for each unit of x; the interval is infinite on either side where the points do not bound it."""

    per_x: float
    low: float
    high: float
    # Points it is made of.
    n: int


def theil_sen(points: Sequence[Point]) -> Slope | None:
    """Return the slope of (x, y) points in any order; None where there are no two with different x."""
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if a[0] != b[0])
    if not slopes:
        return None
    half = Z95 * math.sqrt(_variance_of_s([y for _, y in points]))
    n = len(slopes)
    low, high = round((n - half) / 2) - 1, round((n + half) / 2)
    return Slope(
        statistics.median(slopes),
        slopes[low] if low >= 0 else -math.inf,
        slopes[high] if high < n else math.inf,
        len(points),
    )


def _variance_of_s(ys: Sequence[float]) -> float:
    """Return the variance of Kendall's S where there is no trend; equal values take away from it."""
    n = len(ys)
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(ys).values() if t > 1)
    return (n * (n - 1) * (2 * n + 5) - ties) / 18
