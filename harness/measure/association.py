"""How strongly leaving goes with waiting, as one number with its interval.

The share of pairs, a caller that left and one that stayed, in which the one that left had the longer TTFB; ties count
half. 0.5 = nothing to do with each other, 1 = whoever left had waited longer than whoever stayed. It is the area under
the ROC curve; the interval is DeLong's (Biometrics 44, 1988) on the logit scale. `rank_correlation` is the same said as
a correlation, -1..1 (Somers' D). Neither says that the one causes the other.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measure.drop_off import Z95

MIN_EACH = 5


@dataclass(frozen=True, slots=True)
class Association:
    """`share` None = too few callers that left, or that stayed; `why` says so."""

    share: float | None
    interval: tuple[float, float] | None
    n_left: int
    why: str = ""

    @property
    def rank_correlation(self) -> float | None:
        """Somers' D."""
        return None if self.share is None else 2 * self.share - 1

    @property
    def rank_interval(self) -> tuple[float, float] | None:
        """The interval of Somers' D."""
        return None if self.interval is None else (2 * self.interval[0] - 1, 2 * self.interval[1] - 1)

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out that they have nothing to do with each other."""
        return self.interval is not None and (self.interval[0] > 0.5 or self.interval[1] < 0.5)


def associate(ttfb_ms: NDArray[np.float64], left: NDArray[np.bool_]) -> Association:
    """Return the association of `left` with `ttfb_ms`, a value a caller in each."""
    gone, stayed = ttfb_ms[left], ttfb_ms[~left]
    least = min(len(gone), len(stayed))
    if least < MIN_EACH:
        who = "left" if len(gone) == least else "stayed"
        return Association(None, None, len(gone), f"fewer than {MIN_EACH} callers {who}")
    # Of each caller that left, the share of the others with a shorter TTFB; and the other way round.
    beaten, beating = _below(gone, stayed), 1.0 - _below(stayed, gone)
    share = float(beaten.mean())
    deviation = math.sqrt(float(beaten.var(ddof=1)) / len(gone) + float(beating.var(ddof=1)) / len(stayed))
    return Association(share, _interval(share, deviation), len(gone))


def _below(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(among)
    under = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    found: NDArray[np.float64] = under / (2 * len(among))
    return found


def _interval(share: float, deviation: float) -> tuple[float, float] | None:
    if not 0 < share < 1 or deviation <= 0:
        return None
    logit, half = math.log(share / (1 - share)), Z95 * deviation / (share * (1 - share))
    return 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
