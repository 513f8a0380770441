"""Which provider takes a request: our own until it is nearly full, then the others in order. Pure; time is passed in.

1. Our own, below `overflow_at` of its capacity (hysteresis in gate.py), where it may do this complexity.
2. The first other one for this complexity that has a token, room and a closed breaker.
3. Our own up to its full capacity: the last fifth is for when the others have no room.
4. Nobody: the refusal says when to ask again.

So a request is refused only when our own is full and no other has room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from harness.model.clock import NS_PER_MS, NS_PER_S
from target_stack.routing.breaker import Breaker, BreakerRules, BreakerState
from target_stack.routing.complexity import COMPLEXITIES
from target_stack.routing.gate import LoadGate
from target_stack.routing.token_bucket import TokenBucket

# Where all that is missing is a place, ask again about then.
PLACE_MS = 100.0


class Reason(Enum):
    """Why this provider."""

    OWN = "own"
    # Our own is nearly full.
    OVERFLOW = "overflow"
    # Our own is not for this complexity.
    COMPLEXITY = "complexity"
    # Our own refused or failed this request, or its breaker is open.
    FAILOVER = "failover"
    # Our own is nearly full, and no other has room.
    RESERVE = "reserve"


class Ending(Enum):
    """What became of a request."""

    OK = "ok"
    # 429, or a full queue.
    LIMITED = "limited"
    FAILED = "failed"
    # Cancelled, or the request's own fault: says nothing of the provider.
    WITHDRAWN = "withdrawn"


@dataclass
class Provider:
    """One provider as the router sees it."""

    name: str
    capacity: int
    is_own: bool = False
    complexities: frozenset[str] = frozenset(COMPLEXITIES)
    bucket: TokenBucket = field(default_factory=TokenBucket)
    breaker: Breaker = field(default_factory=lambda: Breaker(BreakerRules()))
    in_flight: int = 0

    @property
    def load(self) -> float:
        """Requests in flight as a share of capacity."""
        return self.in_flight / self.capacity

    def wait_ns(self, now_ns: int) -> int:
        """Return how long until it could take a request; 0 for at once, as far as limit and breaker go."""
        return max(self.bucket.wait_ns(now_ns), self.breaker.wait_ns(now_ns))

    def has_room(self, now_ns: int) -> bool:
        """Return whether it could take a request now."""
        return self.in_flight < self.capacity and self.breaker.allows(now_ns) and not self.bucket.wait_ns(now_ns)


@dataclass(frozen=True, slots=True)
class Route:
    """A place at a provider, until it is released."""

    provider: Provider
    reason: Reason


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Nobody can take it now."""

    retry_after_ms: float


class Router:
    """One stage's. `choose` takes the place; `release` must follow, once."""

    def __init__(
        self,
        own: Provider | None,
        others: Sequence[Provider],
        gate: LoadGate,
        *,
        load: Callable[[], float] | None = None,
    ) -> None:
        """`load`: a further measure of our own load, 0 to 1, such as calls of capacity; the higher one counts."""
        self.own = own
        self.others = others
        self.gate = gate
        self._load = load

    @property
    def providers(self) -> list[Provider]:
        """All of them, our own first."""
        return [*([self.own] if self.own else []), *self.others]

    def is_overflowing(self) -> bool:
        """Tell whether our own is nearly full now; the last request may be long ago."""
        return self.own is not None and not self._own_is_open(self.own)

    def choose(self, now_ns: int, complexity: str = "simple", tried: frozenset[str] = frozenset()) -> Route | NoRoute:
        """Take a place, not at those who were `tried` already."""
        own = self.own if self.own is not None and complexity in self.own.complexities else None
        is_open = self._own_is_open(own)
        may_own = own is not None and own.name not in tried and own.has_room(now_ns)
        if may_own and own is not None and is_open:
            return self._take(own, Reason.OWN, now_ns)
        for other in self.others:
            if complexity in other.complexities and other.name not in tried and other.has_room(now_ns):
                return self._take(other, self._why_other(own, tried, now_ns), now_ns)
        if may_own and own is not None:
            return self._take(own, Reason.RESERVE, now_ns)
        return NoRoute(self._retry_after_ms(now_ns, complexity))

    def release(self, route: Route, ending: Ending, now_ns: int, retry_after_s: float | None = None) -> None:
        """Give the place back, with what it taught of the provider."""
        provider = route.provider
        provider.in_flight -= 1
        match ending:
            case Ending.OK:
                provider.breaker.succeeded()
            case Ending.FAILED:
                provider.breaker.failed(now_ns)
            case Ending.LIMITED:
                provider.breaker.withdrew()
                if retry_after_s:
                    provider.bucket.block(now_ns + round(retry_after_s * NS_PER_S))
            case Ending.WITHDRAWN:
                provider.breaker.withdrew()

    def _own_is_open(self, own: Provider | None) -> bool:
        """Ask the gate at every choice, so that it hears of every load that a request met."""
        if own is None:
            return False
        return self.gate.admits(max(own.load, self._load() if self._load is not None else 0.0))

    def _why_other(self, own: Provider | None, tried: frozenset[str], now_ns: int) -> Reason:
        if own is None:
            return Reason.COMPLEXITY
        has_failed = own.name in tried or own.breaker.state(now_ns) is not BreakerState.CLOSED
        return Reason.FAILOVER if has_failed else Reason.OVERFLOW

    def _take(self, provider: Provider, reason: Reason, now_ns: int) -> Route:
        provider.bucket.take(now_ns)
        provider.breaker.begin(now_ns)
        provider.in_flight += 1
        return Route(provider, reason)

    def _retry_after_ms(self, now_ns: int, complexity: str) -> float:
        fitting = [provider for provider in self.providers if complexity in provider.complexities]
        waits = [provider.wait_ns(now_ns) / NS_PER_MS for provider in fitting]
        return max(PLACE_MS, min(waits, default=PLACE_MS))
