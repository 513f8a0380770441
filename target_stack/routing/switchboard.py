"""Builds routers, provider clients and stand-ins from the routes, and puts them in front of the stages."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Protocol

from harness.model.clock import monotonic_ns
from harness.model.errors import ScenarioError
from target_stack.routing.billing import BillingTelemetry
from target_stack.routing.breaker import Breaker, BreakerRules
from target_stack.routing.desk import Desk, Patience
from target_stack.routing.gate import LoadGate
from target_stack.routing.http_speech import HttpStt, HttpTts, SpeechEndpoint
from target_stack.routing.routed import RoutedLlm, RoutedStt, RoutedTts
from target_stack.routing.router import Provider, Router
from target_stack.routing.routes import OWN, STANDIN, OtherRoute, Routes
from target_stack.routing.routing_stats import RoutingStats, render_routing
from target_stack.routing.standin import StandIn, StandInRules
from target_stack.routing.token_bucket import TokenBucket
from target_stack.stages.llm import LanguageModel, LlmOptions, OpenAiClient
from target_stack.stages.stt import SpeechToText
from target_stack.stages.tts import TextToSpeech


class _Closable(Protocol):
    async def aclose(self) -> None: ...


class Switchboard:
    """All three stages' routing. `start`, then `stt`, `llm` and `tts` wrap the stages; `aclose` at the end."""

    def __init__(
        self,
        routes: Routes,
        telemetry: BillingTelemetry,
        stats: RoutingStats,
        *,
        environment: Mapping[str, str] | None = None,
        load: Callable[[], float] | None = None,
        own_patience_ms: Mapping[str, float] | None = None,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        """`load`: our own load from 0 to 1, such as calls of capacity, beside the requests a stage has in flight.

        `own_patience_ms`: by stage, how long a request waits, with backoff, where no other provider could take it; a
        stage that is not named refuses at once.
        """
        self._routes = routes
        self._telemetry = telemetry
        self._stats = stats
        self._environment = os.environ if environment is None else environment
        self._load = load
        self._own_patience_ms = own_patience_ms or {}
        self._now = now
        self._urls: dict[tuple[str, str], str] = {}
        self._closing: list[_Closable] = []
        self.standins: dict[str, StandIn] = {}
        self.routers = {stage: self._router(stage) for stage in routes.stages}

    async def start(self) -> None:
        """Start the stand-ins. Raises ScenarioError where a provider's key is missing, OSError."""
        for stage, route in self._routes.stages.items():
            for other in route.others:
                self._key(other)
                self._urls[stage, other.name] = await self._url(f"{stage}:{other.name}", other)

    async def _url(self, name: str, other: OtherRoute) -> str:
        if other.url != STANDIN:
            return other.url.rstrip("/").removesuffix("/v1")
        rules = other.standin
        server = StandIn(StandInRules(rules.latency_ms, rules.per_minute, rules.burst, rules.at_once))
        self.standins[name] = server
        return await server.start()

    def stt(self, own: SpeechToText) -> SpeechToText:
        """Return the stage over all its providers."""
        others = {other.name: HttpStt(self._endpoint("stt", other), self._told(other)) for other in self._others("stt")}
        self._closing += others.values()
        return RoutedStt(self._desk("stt"), {OWN: own, **others})

    def tts(self, own: TextToSpeech) -> TextToSpeech:
        """Return the stage over all its providers."""
        others = {other.name: HttpTts(self._endpoint("tts", other), self._told(other)) for other in self._others("tts")}
        self._closing += others.values()
        return RoutedTts(self._desk("tts"), {OWN: own, **others})

    def llm(self, own: LanguageModel) -> LanguageModel:
        """Return the stage over all its providers."""
        others = {other.name: self._llm_client(other) for other in self._others("llm")}
        self._closing += others.values()
        return RoutedLlm(self._desk("llm"), {OWN: own, **others})

    def simulated(self) -> tuple[str, ...]:
        """Return what of this is not real, as /healthz says it."""
        return tuple(
            f"{stage}: provider {other.name} is a local stand-in"
            for stage in self._routes.stages
            for other in self._others(stage)
            if other.url == STANDIN
        )

    def metrics(self) -> str:
        """Return the Prometheus text."""
        return render_routing(self._stats, self.routers, self._now())

    async def aclose(self) -> None:
        """Close the clients, then the stand-ins."""
        await asyncio.gather(*(client.aclose() for client in self._closing))
        await asyncio.gather(*(server.aclose() for server in self.standins.values()))

    def _others(self, stage: str) -> tuple[OtherRoute, ...]:
        return self._routes.stages[stage].others

    def _router(self, stage: str) -> Router:
        route = self._routes.stages[stage]
        # Where nobody could stand in, a breaker would only turn some failures into refusals.
        rules = BreakerRules() if route.others else BreakerRules(failures=0)
        own = Provider(
            OWN, route.own.capacity, is_own=True, complexities=frozenset(route.own.for_), breaker=Breaker(rules)
        )
        others = [
            Provider(
                other.name,
                other.capacity,
                complexities=frozenset(other.for_),
                bucket=TokenBucket(other.per_minute, other.burst),
            )
            for other in route.others
        ]
        return Router(own, others, LoadGate(self._routes.overflow_at, self._routes.return_below), load=self._load)

    def _desk(self, stage: str) -> Desk:
        return Desk(
            stage,
            self.routers[stage],
            self._routes.priced[stage],
            self._telemetry,
            self._stats,
            patience=Patience(
                self._routes.patience_ms if self._others(stage) else self._own_patience_ms.get(stage, 0.0)
            ),
            now=self._now,
        )

    def _endpoint(self, stage: str, other: OtherRoute) -> SpeechEndpoint:
        url = self._urls[stage, other.name]
        return SpeechEndpoint(url, other.model, other.voice, self._key(other), other.timeout_ms / 1000)

    def _llm_client(self, other: OtherRoute) -> OpenAiClient:
        options = LlmOptions(
            self._urls["llm", other.name],
            model=other.model,
            timeout_s=other.timeout_ms / 1000,
            api_key=self._key(other),
            max_in_flight=other.capacity,
            keep_alive=True,
        )
        return OpenAiClient(options, self._told(other))

    def _key(self, other: OtherRoute) -> str:
        if other.key_env and not self._environment.get(other.key_env):
            raise ScenarioError(f"provider {other.name}: its key is missing; set {other.key_env} in the environment")
        return self._environment.get(other.key_env, "") if other.key_env else ""

    @staticmethod
    def _told(other: OtherRoute) -> str:
        return f"{other.name} ({'stand-in' if other.url == STANDIN else other.url})"
