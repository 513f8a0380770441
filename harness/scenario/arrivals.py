"""Open-loop arrival schedules: a rate over time and a seed in, due times out. Pure: a schedule is a function.

With rate r(t) the expected number of calls until t is its integral L(t). Call k is due where L reaches its mark:
  uniform   k (0, 1, 2, ...): the first call at once, then evenly
  poisson   the sum of k + 1 draws from Exp(1): a Poisson process of rate r(t) (time rescaling)
A linear ramp makes L quadratic, so the mark is found in closed form.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice

_S_PER_MIN = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of `duration_s` (may be infinite at a constant rate) over which the rate changes linearly."""

    duration_s: float
    from_per_minute: float
    to_per_minute: float

    @property
    def calls(self) -> float:
        """Expected number of calls: the area under the rate."""
        mean = (self.from_per_minute + self.to_per_minute) / 2
        return mean * self.duration_s / _S_PER_MIN if mean else 0.0

    def time_of(self, mark: float) -> float:
        """Seconds into the stage at which `mark` calls are expected, 0 <= mark <= calls."""
        start = self.from_per_minute / _S_PER_MIN
        slope = (self.to_per_minute - self.from_per_minute) / _S_PER_MIN / self.duration_s
        if mark == 0:
            return 0.0
        # 2a / (r + sqrt(r^2 + 2ka)): the root of r t + k t^2 / 2 = a that keeps its digits for small slopes.
        return 2 * mark / (start + math.sqrt(max(0.0, start * start + 2 * slope * mark)))


def due_times_ms(stages: Sequence[Stage], distribution: str, seed: int | str, limit: int) -> list[float]:
    """Return the due times in ms after the start, ascending, at most `limit`; equal arguments give equal times."""
    return list(islice(_due_times_ms(stages, _marks(distribution, seed)), limit))


def _marks(distribution: str, seed: int | str) -> Iterator[float]:
    if distribution == "uniform":
        return (float(k) for k in count())
    rng = random.Random(f"{seed}/arrivals")
    return accumulate(rng.expovariate(1.0) for _ in count())


def _due_times_ms(stages: Sequence[Stage], marks: Iterator[float]) -> Iterator[float]:
    mark = next(marks)
    begin_s, calls_before = 0.0, 0.0
    for stage in stages:
        # A whole number of calls ends the stage: the call on the edge belongs to the next one.
        while mark - calls_before < stage.calls - 1e-9:
            yield (begin_s + stage.time_of(mark - calls_before)) * 1000
            mark = next(marks)
        begin_s += stage.duration_s
        calls_before += stage.calls
