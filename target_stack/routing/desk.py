"""One stage's router at work: choose, try, learn, try elsewhere, wait, try again."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from harness.model.clock import monotonic_ns, ms_between
from target_stack.call_scope import call_scope
from target_stack.routing.backoff import Backoff
from target_stack.routing.billing import BillingTelemetry
from target_stack.routing.failures import NoProviderError, ending_of, retry_after_of
from target_stack.routing.prices import Price
from target_stack.routing.router import PLACE_MS, Ending, NoRoute, Route, Router
from target_stack.routing.routing_stats import RoutingStats


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may wait for a provider, over all its tries; and how it waits."""

    total_ms: float = 3000.0
    backoff: Backoff = field(default_factory=Backoff)


class Desk:
    """Gives each request of a stage to a provider. The stages' own shapes are in routed.py."""

    def __init__(
        self,
        stage: str,
        router: Router,
        prices: Mapping[str, Price],
        telemetry: BillingTelemetry,
        stats: RoutingStats,
        *,
        patience: Patience | None = None,
        rng: random.Random | None = None,
        now: Callable[[], int] = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`prices`: by provider."""
        self.stage = stage
        self.router = router
        self._prices = prices
        self._telemetry = telemetry
        self._stats = stats
        self._patience = patience or Patience()
        self._rng = rng or random.Random()
        self._now = now
        self._sleep = sleep

    def tries(self, complexity: str = "simple") -> "Tries":
        """Begin a request."""
        return Tries(self, complexity, self._now())

    async def place_for(self, tries: "Tries") -> "Place":
        """Take the request's next place, waiting for one. Raises the last failure, or NoProviderError."""
        while True:
            route = self.router.choose(self._now(), tries.complexity, frozenset(tries.tried))
            if not isinstance(route, NoRoute):
                tries.tried.add(route.provider.name)
                return Place(route, tries)
            spent_ms = max(tries.waited_ms, ms_between(tries.began_ns, self._now()))
            delay_ms = self._delay_ms(route.retry_after_ms, tries.rounds, self._patience.total_ms - spent_ms)
            if spent_ms + delay_ms > self._patience.total_ms:
                self._stats.refused[self.stage] += 1
                raise self._no_provider(tries.failure)
            self._stats.backoffs[self.stage] += 1
            await self._sleep(delay_ms / 1000)
            tries.waited_ms += delay_ms
            tries.rounds += 1
            tries.tried.clear()

    def _delay_ms(self, told_ms: float, rounds: int, left_ms: float) -> float:
        backoff_ms = self._patience.backoff.delay_ms(rounds, self._rng)
        if told_ms <= PLACE_MS:
            return max(told_ms, backoff_ms)
        # All who were told a time would come back at that moment; but nobody is to lose their patience by the jitter.
        return max(told_ms, min(told_ms + backoff_ms, left_ms))

    def _no_provider(self, failure: Exception | None) -> Exception:
        if failure is not None and ending_of(failure) is Ending.FAILED:
            return failure
        told = f"; last: {failure}" if failure is not None else ""
        return NoProviderError(f"{self.stage}: no provider has room{told}")

    @asynccontextmanager
    async def work(self, place: "Place") -> AsyncIterator[str]:
        """Hold the place while working; yields the provider's name. A failure that others may not share is kept in it.

        Raises what is the request's own fault, and whatever comes once the place is marked `has_begun`.
        """
        route, provider = place.route, place.route.provider
        scope = call_scope()
        is_told = bool(self.router.others)
        self._telemetry.routed(scope, self.stage, provider.name, route.reason.value, self._now(), is_told=is_told)
        ending = Ending.WITHDRAWN
        retry_after_s = None
        try:
            yield provider.name
            ending = Ending.OK
        except (GeneratorExit, asyncio.CancelledError):
            # Who has heard enough of an answer closes it: that is no sign against the provider, but one for it.
            ending = Ending.OK if place.has_begun else Ending.WITHDRAWN
            raise
        except Exception as error:
            ending, retry_after_s = ending_of(error), retry_after_of(error)
            if ending is Ending.WITHDRAWN or place.has_begun:
                raise
            place.tries.failure = error
        finally:
            self.router.release(route, ending, self._now(), retry_after_s)
            self._stats.endings[self.stage, provider.name, ending.value] += 1

    def charge(self, place: "Place", *, audio_s: float = 0.0, characters: int = 0) -> None:
        """Put the work done at this place on the call's bill."""
        name = place.route.provider.name
        self._telemetry.used(
            call_scope(), self.stage, name, self._prices[name], self._now(), audio_s=audio_s, characters=characters
        )


@dataclass(slots=True)
class Tries:
    """One request's way from provider to provider."""

    desk: Desk
    complexity: str
    began_ns: int
    # In this round; a wait begins a new one.
    tried: set[str] = field(default_factory=set)
    rounds: int = 0
    waited_ms: float = 0.0
    failure: Exception | None = None

    async def place(self) -> "Place":
        """Return the next place to try. Raises the last failure, or NoProviderError."""
        return await self.desk.place_for(self)


@dataclass(slots=True)
class Place:
    """One try. `has_begun`: something of the answer was used, so another provider must not begin anew."""

    route: Route
    tries: Tries
    has_begun: bool = False
