"""The bills of all calls: opened and closed with the call, told as an event and in the counters."""

from collections.abc import Sequence

from target_stack.call_scope import CallScope
from target_stack.routing.bill import Bill
from target_stack.routing.prices import Price
from target_stack.routing.routing_stats import RoutingStats
from target_stack.telemetry.events import CallCosted, CallEnded, CallStarted, EventLog, StageRouted
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats


class BillingTelemetry(Telemetry):
    """`Telemetry` that also keeps a bill for each call, and says at its end what it cost."""

    def __init__(self, stats: Stats, events: EventLog, routing: RoutingStats, throughout: Sequence[Price] = ()) -> None:
        super().__init__(stats, events)
        self._routing = routing
        self._throughout = throughout
        self._bills: dict[str, Bill] = {}

    def call_started(self, event: CallStarted) -> None:
        """Open its bill."""
        self._bills[event.call_id] = Bill(event.at_ns, self._throughout)
        super().call_started(event)

    def call_ended(self, event: CallEnded) -> None:
        """Close its bill."""
        bill = self._bills.pop(event.call_id, None)
        if bill is not None:
            cost = bill.close(event.at_ns)
            self._routing.minutes += cost.minutes
            for key, usd in cost.usd.items():
                self._routing.usd[key] = self._routing.usd.get(key, 0.0) + usd
            self.events.write(
                CallCosted(
                    event.call_id,
                    event.at_ns,
                    minutes=cost.minutes,
                    usd={
                        name: round(usd, 6) for name, usd in [*cost.by_component().items(), ("total", cost.total_usd)]
                    },
                )
            )
        super().call_ended(event)

    def routed(
        self, scope: CallScope | None, stage: str, provider: str, reason: str, now_ns: int, *, is_told: bool
    ) -> None:
        """Count who does a stage's work for a turn; record it where it `is_told`, and the work is for a call."""
        self._routing.routed[stage, provider, reason] += 1
        if scope is not None and is_told:
            self.events.write(StageRouted(scope.call_id, now_ns, scope.turn, stage, provider, reason))

    def used(
        self,
        scope: CallScope | None,
        stage: str,
        provider: str,
        price: Price,
        now_ns: int,
        *,
        audio_s: float = 0.0,
        characters: int = 0,
    ) -> None:
        """Put work that was done on its call's bill."""
        bill = self._bills.get(scope.call_id) if scope is not None else None
        if bill is not None:
            bill.use(stage, provider, price, now_ns, audio_s=audio_s, characters=characters)
