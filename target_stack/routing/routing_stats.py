"""What the routers count, and its Prometheus text. Labels are stages and the providers of the routes file only."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.model.clock import NS_PER_MS
from target_stack.routing.breaker import BreakerState
from target_stack.routing.router import Router
from target_stack.telemetry.exposition import Row, counter, gauge


@dataclass
class RoutingStats:
    """Only grows."""

    # By stage, provider and reason.
    routed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    # By stage, provider and ending.
    endings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    # Requests that no provider took, by stage.
    refused: Counter[str] = field(default_factory=Counter)
    # Waits before asking again, by stage.
    backoffs: Counter[str] = field(default_factory=Counter)
    # US dollars by component and provider, of calls that have ended.
    usd: dict[tuple[str, str], float] = field(default_factory=dict)
    # Minutes of calls that have ended.
    minutes: float = 0.0


def _rows(names: tuple[str, ...], counts: Mapping[Any, float]) -> list[Row]:
    return [(dict(zip(names, key, strict=True)), count) for key, count in sorted(counts.items())]


def render_routing(stats: RoutingStats, routers: Mapping[str, Router], now_ns: int) -> str:
    """Return the text."""
    providers = [(stage, provider) for stage, router in routers.items() for provider in router.providers]
    flights = {(stage, provider.name): float(provider.in_flight) for stage, provider in providers}
    capacities = {(stage, provider.name): float(provider.capacity) for stage, provider in providers}
    # 0 closed, 0.5 half-open, 1 open.
    level = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}
    breakers = {(stage, provider.name): level[provider.breaker.state(now_ns)] for stage, provider in providers}
    blocked = {(stage, p.name): p.bucket.wait_ns(now_ns) / NS_PER_MS / 1000 for stage, p in providers}
    overflowing = {(stage,): float(router.is_overflowing()) for stage, router in routers.items()}
    of = ("stage", "provider")
    return "".join(
        (
            gauge("provider_in_flight", "Requests now.", _rows(of, flights)),
            gauge("provider_capacity", "Requests at once.", _rows(of, capacities)),
            gauge("provider_breaker", "1 open, 0.5 half-open, 0 closed.", _rows(of, breakers)),
            gauge("provider_wait_seconds", "Until its rate limit lets one through.", _rows(of, blocked)),
            gauge("overflowing", "1 while our own is nearly full.", _rows(("stage",), overflowing)),
            counter("routed", "Requests by provider and reason.", _rows((*of, "reason"), stats.routed)),
            counter("provider_endings", "What became of requests.", _rows((*of, "ending"), stats.endings)),
            counter(
                "route_refused", "Requests no provider took.", [({"stage": s}, n) for s, n in stats.refused.items()]
            ),
            counter(
                "route_backoffs", "Waits before asking again.", [({"stage": s}, n) for s, n in stats.backoffs.items()]
            ),
            counter("cost_usd", "Of calls that have ended.", _rows(("component", "provider"), stats.usd)),
            counter("call_minutes", "Of calls that have ended.", [({}, stats.minutes)]),
        )
    )
