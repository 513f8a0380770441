"""Is the language model there? Only a token it wrote says so; and how full its server's queue is."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from harness.model.clock import NS_PER_S, monotonic_ns, ms_between
from target_stack.routing.backoff import Backoff
from target_stack.stages.llm import LlmError, OpenAiClient
from target_stack.stages.llm_facts import LlmServerDesk
from target_stack.telemetry.llm_stats import LlmStats

# One failed check may be a moment's; the stage is not ready after two.
FAILURES = 2
LOAD_EVERY_S = 2.0
# What a server says that is still loading its model, or behind a proxy that has none yet; 0: nobody answered.
COMING = frozenset({0, 429, 500, 502, 503, 504})


class LlmHealth:
    """`warm_up`, then `start`; `fault` tells, `aclose` ends it."""

    def __init__(
        self,
        client: OpenAiClient,
        stats: LlmStats,
        desk: LlmServerDesk | None = None,
        *,
        every_s: float = 30.0,
        rng: random.Random | None = None,
        now: Callable[[], int] = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`every_s` 0: never checked again. A reply within that time is as good as a check."""
        self._client = client
        self._stats = stats
        self._desk = desk
        self._every_s = every_s
        self._rng = rng or random.Random()
        self._now = now
        self._sleep = sleep
        self._failures = 0
        self._failure = ""
        self._tasks: list[asyncio.Task[None]] = []

    def fault(self) -> str:
        """Return what is wrong, "" for nothing."""
        return self._failure if self._failures >= FAILURES else ""

    async def warm_up(self, at_once: int, patience_s: float, began_ns: int | None = None) -> None:
        """Have the model write its first token, then one in each of `at_once` slots, so that no caller waits for it.

        A server that is still coming up is asked again, with backoff, for `patience_s`. `began_ns`: since when the cold
        start counts. Raises LlmError.
        """
        began_ns = self._now() if began_ns is None else began_ns
        await self._first_token(self._now() + round(patience_s * NS_PER_S))
        self._stats.cold_start_ms = ms_between(began_ns, self._now())
        await asyncio.gather(*(self._check() for _ in range(at_once)))

    async def _first_token(self, until_ns: int) -> None:
        backoff = Backoff(first_ms=500.0, longest_ms=5000.0)
        attempt = 0
        while True:
            try:
                await self._check()
            except LlmError as error:
                delay_s = backoff.delay_ms(attempt, self._rng) / 1000
                if error.status not in COMING or self._now() + round(delay_s * NS_PER_S) >= until_ns:
                    raise
                await self._sleep(delay_s)
                attempt += 1
            else:
                return

    async def _check(self) -> None:
        try:
            self._stats.health_ms = await self._client.one_token()
        except LlmError as error:
            self._stats.checks["failed"] += 1
            self._failures += 1
            self._failure = str(error)
            self._stats.is_up = not self.fault()
            raise
        self._stats.checks["ok"] += 1
        self._failures, self._stats.is_up = 0, True

    def start(self) -> None:
        """Check from now on, and read the queue."""
        self._tasks = [asyncio.create_task(self._watch_load())] if self._desk is not None else []
        if self._every_s:
            self._tasks.append(asyncio.create_task(self._watch()))

    async def _watch(self) -> None:
        while True:
            await self._sleep(self._every_s)
            await self.check()

    async def check(self) -> None:
        """Check once, unless replies say enough."""
        silent_ns = self._now() - self._client.answered_ns if self._client.answered_ns else None
        # Where requests wait for it, one more would only wait behind them; but not for ever.
        patience_s = self._every_s * (3 if self._client.in_flight else 1)
        if silent_ns is not None and silent_ns < patience_s * NS_PER_S and not self._failures:
            return
        try:
            await self._check()
        except LlmError:
            # Kept in `fault`.
            return

    async def _watch_load(self) -> None:
        assert self._desk is not None
        while True:
            self._stats.server = await self._desk.load()
            await self._sleep(LOAD_EVERY_S)

    async def aclose(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
