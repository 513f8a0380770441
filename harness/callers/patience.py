"""When does a synthetic caller give up? A hazard model, not a measurement; reports say so.

Each thing a caller bears adds hazard, scaled by the persona; the caller leaves when the sum exceeds the call's budget,
a seeded draw from Exp(1). So over many callers the share that survives is exp(-hazard), and one seed leaves the same
way given the same behaviour of the agent.

The wait for an answer weighs as WAIT_CURVE says: nothing up to the runbook's target of 500 ms, a steep climb beyond its
800 ms ("users hang up or repeat themselves"). It runs on while no answer comes, so dead air ends a call by itself.
"""

from itertools import pairwise

from harness.model.plan import Patience
from harness.model.records import Cause

# (wait in ms, hazard of one turn): linear between the points, and beyond the last with its last slope.
WAIT_CURVE = (
    (500.0, 0.0),
    (800.0, 0.005),
    (1200.0, 0.02),
    (2000.0, 0.05),
    (3000.0, 0.12),
    (5000.0, 0.35),
    (10000.0, 1.2),
    (20000.0, 4.0),
)
REPEAT_HAZARD = 0.15
MISHEARD_HAZARD = 0.10
# A caller feels misheard when the agent got less than this share of the words.
MISHEARD_BELOW = 0.5


def wait_hazard(wait_ms: float) -> float:
    """Return the hazard of one wait of `wait_ms`, for a caller of normal patience."""
    if wait_ms <= WAIT_CURVE[0][0]:
        return 0.0
    for (x0, y0), (x1, y1) in pairwise(WAIT_CURVE):
        if wait_ms <= x1:
            return y0 + (y1 - y0) * (wait_ms - x0) / (x1 - x0)
    (x0, y0), (x1, y1) = WAIT_CURVE[-2:]
    return y1 + (wait_ms - x1) * (y1 - y0) / (x1 - x0)


def wait_for_hazard(hazard: float) -> float:
    """Return the wait in ms that carries `hazard`: the inverse of `wait_hazard` above its flat part."""
    for (x0, y0), (x1, y1) in pairwise(WAIT_CURVE):
        if hazard <= y1:
            return x0 + (x1 - x0) * (hazard - y0) / (y1 - y0)
    (x0, y0), (x1, y1) = WAIT_CURVE[-2:]
    return x1 + (hazard - y1) * (x1 - x0) / (y1 - y0)


def heard_share(reference: str, hypothesis: str) -> float:
    """Return the share of the reference's words found in the hypothesis: what a caller notices, not a WER."""
    wanted = reference.lower().split()
    if not wanted:
        return 1.0
    got = set(hypothesis.lower().replace(",", " ").replace(".", " ").replace("?", " ").split())
    return sum(word.strip(".,?!") in got for word in wanted) / len(wanted)


class PatienceMeter:
    """One call's accumulated hazard."""

    def __init__(self, patience: Patience) -> None:
        self._scale = patience.scale
        self._budget = patience.budget
        self._borne: dict[Cause, float] = {}

    def _bear(self, cause: Cause, hazard: float) -> None:
        self._borne[cause] = self._borne.get(cause, 0.0) + self._scale * hazard

    @property
    def left(self) -> float:
        """Hazard that can still be borne."""
        return self._budget - sum(self._borne.values())

    def longest_wait_ms(self) -> float | None:
        """Return how long the caller will wait in silence from now, None = for ever."""
        if self._scale == 0:
            return None
        return wait_for_hazard(max(0.0, self.left) / self._scale)

    def answered(self, ttfb_ms: float) -> None:
        """Bear one answered turn's wait."""
        self._bear(Cause.PATIENCE_SLOW_ANSWERS, wait_hazard(ttfb_ms))

    def dead_air(self, wait_ms: float) -> None:
        """Bear a wait that no answer ended."""
        self._bear(Cause.PATIENCE_DEAD_AIR, wait_hazard(wait_ms))

    def repeated(self) -> None:
        """Bear having to say it again."""
        self._bear(Cause.PATIENCE_REPEATS, REPEAT_HAZARD)

    def misheard(self) -> None:
        """Bear having been misunderstood."""
        self._bear(Cause.PATIENCE_MISHEARD, MISHEARD_HAZARD)

    def ran_out(self) -> Cause | None:
        """Return what weighed most once the budget is spent, None while patience is left."""
        if self._scale == 0 or self.left > 1e-9:
            return None
        return max(self._borne, key=lambda cause: self._borne[cause], default=Cause.PATIENCE_DEAD_AIR)
