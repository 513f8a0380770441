"""How long to wait before asking a provider again: exponential, with full jitter. Pure."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: uniform between 0 and the exponential bound, so that calls refused together do not return together.

    After "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """

    first_ms: float = 100.0
    longest_ms: float = 2_000.0

    def delay_ms(self, attempt: int, rng: random.Random) -> float:
        """Return the wait before try number `attempt` + 1; `attempt` counts from 0."""
        return rng.uniform(0, min(self.longest_ms, self.first_ms * 2**attempt))
