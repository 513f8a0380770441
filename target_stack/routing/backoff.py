"""How long to wait before trying again: exponential; before asking a provider again, with full jitter. Pure."""

import random
from dataclasses import dataclass

# The next power of two is no float.
_MOST_DOUBLINGS = 1023


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: uniform between 0 and the exponential bound, so that calls refused together do not return together.

    After "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """

    first_ms: float = 100.0
    longest_ms: float = 2_000.0

    def delay_ms(self, attempt: int, rng: random.Random) -> float:
        """Return the wait before try number `attempt` + 1; `attempt` counts from 0."""
        return rng.uniform(0, doubled(self.first_ms, attempt, self.longest_ms))


def doubled(first: float, times: int, longest: float) -> float:
    """Return `first` doubled `times` times, at most `longest`, however often it is: what fails may fail for days."""
    return min(longest, first * 2.0 ** min(times, _MOST_DOUBLINGS))
