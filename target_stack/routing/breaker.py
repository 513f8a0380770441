"""A circuit breaker: a provider that fails again and again is left alone, then tried with one request. Pure.

closed ──`failures` in a row──► open ──`open_ms` passed──► half-open ──success──► closed
                                 ▲                            │
                                 └──failure, for twice as long┘
"""

from dataclasses import dataclass
from enum import Enum

from harness.model.clock import NS_PER_MS


class BreakerState(Enum):
    """Whether requests go through."""

    CLOSED = "closed"
    OPEN = "open"
    # One request is let through, to see.
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """`failures` 0: it never opens, as for a provider that has no stand-in."""

    failures: int = 3
    open_ms: float = 5_000.0
    longest_open_ms: float = 60_000.0


class Breaker:
    """One provider's. `allows`, then `begin`, then one of `succeeded`, `failed`, `withdrew`."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._failures = 0
        self._open_ms = rules.open_ms
        self._opens_at_ns = 0
        self._is_open = False
        self._is_probing = False

    def state(self, now_ns: int) -> BreakerState:
        """Return the state now."""
        if not self._is_open:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now_ns >= self._opens_at_ns else BreakerState.OPEN

    def allows(self, now_ns: int) -> bool:
        """Return whether a request may be sent."""
        state = self.state(now_ns)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self._is_probing)

    def wait_ns(self, now_ns: int) -> int:
        """Return how long until it may let one through; 0 when it does, or when that hangs on a probe."""
        return max(0, self._opens_at_ns - now_ns) if self._is_open else 0

    def begin(self, now_ns: int) -> None:
        """Take note of a request."""
        if self.state(now_ns) is BreakerState.HALF_OPEN:
            self._is_probing = True

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0
        self._open_ms = self._rules.open_ms
        self._is_open = self._is_probing = False

    def failed(self, now_ns: int) -> None:
        """Count a failure; open it where that is one too many."""
        self._failures += 1
        if self._is_open:
            if not self._is_probing:
                # A request from before it opened.
                return
            self._open_ms = min(2 * self._open_ms, self._rules.longest_open_ms)
        elif not self._rules.failures or self._failures < self._rules.failures:
            return
        self._is_open, self._is_probing = True, False
        self._opens_at_ns = now_ns + round(self._open_ms * NS_PER_MS)

    def withdrew(self) -> None:
        """Take note that a request ended without telling anything of the provider: cancelled, or refused as busy."""
        self._is_probing = False
