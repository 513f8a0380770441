"""Drop-off: the share of calls that ended before their goal, by cause.

(dropped + failed) / all calls, without those whose end was ours (calls.py). When a caller leaves is decided by a model
of patience, so drop-off is that model's answer to measured behaviour: it compares runs, it is not a forecast.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.measure.calls import is_ours
from harness.model.records import CallRecord, Outcome

# The normal distribution's quantile of a two-sided interval of 95 %.
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class DropOffResult:
    """Drop-off of a set of calls; `ratio` None when none counts."""

    n: int
    n_dropped: int
    ratio: float | None
    ci95: tuple[float, float] | None
    by_cause: dict[str, int]


def measure(calls: Iterable[CallRecord]) -> DropOffResult:
    """Return the drop-off of `calls`."""
    counted = [call for call in calls if not is_ours(call)]
    gone = [call for call in counted if call.outcome in {Outcome.DROPPED, Outcome.FAILED}]
    n = len(counted)
    return DropOffResult(
        n=n,
        n_dropped=len(gone),
        ratio=len(gone) / n if n else None,
        ci95=wilson(len(gone), n),
        by_cause=dict(Counter(call.cause.value for call in gone).most_common()),
    )


def wilson(hits: int, n: int) -> tuple[float, float] | None:
    """Return the 95 % Wilson score interval of a proportion, None when n is 0."""
    if n == 0:
        return None
    p, z2 = hits / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
