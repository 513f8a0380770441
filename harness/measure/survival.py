"""How long callers stay: the Kaplan-Meier estimate (JASA 53, 1958) with censoring, and its interval.

A caller that left early is an event at the time it had been on the line. A caller whose call ended in any other way
(done, cut by us, dropped by the agent) is censored: it had stayed at least so long. The interval is Greenwood's
variance on the log-minus-log scale (Kalbfleisch and Prentice), which stays within 0..1.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.measure.drop_off import Z95


@dataclass(frozen=True, slots=True)
class Step:
    """From `at_s` on, this share of callers is still there; `interval` None where it has no width to speak of."""

    at_s: float
    at_risk: int
    left: int
    share: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Survival:
    """The curve; it begins at 1 and falls at each step."""

    n: int
    n_left: int
    steps: tuple[Step, ...]
    # How long the last caller was followed; beyond, nothing is known.
    followed_s: float

    def share_at(self, at_s: float) -> float | None:
        """Return the share still there after `at_s`, None beyond what was followed."""
        if at_s > self.followed_s:
            return None
        return next((step.share for step in reversed(self.steps) if step.at_s <= at_s), 1.0)

    @property
    def median_s(self) -> float | None:
        """After how long half of the callers have left, None where so many did not."""
        return next((step.at_s for step in self.steps if step.share <= 0.5), None)


def estimate(times_s: Sequence[float], left: Sequence[bool]) -> Survival:
    """Return the survival of callers; `times_s` is how long each stayed, `left` whether it then left early."""
    times = sorted(zip(times_s, left, strict=True))
    steps: list[Step] = []
    share, variance, at_risk = 1.0, 0.0, len(times)
    for at_s, events, ended in _by_time(times):
        if events:
            variance += events / (at_risk * (at_risk - events)) if at_risk > events else math.inf
            share *= 1 - events / at_risk
            steps.append(Step(at_s, at_risk, events, share, _interval(share, variance)))
        at_risk -= ended
    return Survival(len(times), sum(gone for _, gone in times), tuple(steps), times[-1][0] if times else 0.0)


def _by_time(times: Iterable[tuple[float, bool]]) -> list[tuple[float, int, int]]:
    """Return (time, events, ends of any kind) of each distinct time, ascending."""
    found: dict[float, list[int]] = {}
    for at_s, is_event in times:
        both = found.setdefault(at_s, [0, 0])
        both[0] += is_event
        both[1] += 1
    return [(at_s, events, ended) for at_s, (events, ended) in found.items()]


def _interval(share: float, variance: float) -> tuple[float, float] | None:
    if not 0 < share < 1 or not math.isfinite(variance):
        return None
    half = Z95 * math.sqrt(variance) / abs(math.log(share))
    return share ** math.exp(half), share ** math.exp(-half)
