"""What a call costs, by component and provider, from what was used and the price table. Pure.

A price per conversation-minute belongs to whole calls, but a call's turns may be worked on by several providers.
So each use pays for the conversation that led up to it: from the component's use before (at first: from the call's
beginning) to this one; what follows the last use is its provider's, too. A component that was never used costs nothing.
Prices per audio-minute and per 1,000 characters are paid for each use.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.model.clock import NS_PER_S
from target_stack.routing.prices import Price

NS_PER_MINUTE = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class CallCost:
    """US dollars by (component, provider), and how long the call was."""

    minutes: float
    usd: Mapping[tuple[str, str], float]

    @property
    def total_usd(self) -> float:
        """All of it."""
        return sum(self.usd.values())

    def by_component(self) -> dict[str, float]:
        """Return US dollars by component."""
        sums: dict[str, float] = defaultdict(float)
        for (component, _provider), usd in self.usd.items():
            sums[component] += usd
        return dict(sums)


@dataclass(slots=True)
class _Meter:
    """One component's: until when the conversation is paid, and by whose price it goes on."""

    paid_until_ns: int
    provider: str
    price: Price


class Bill:
    """One call's. `throughout`: what is paid for every minute, used or not, such as telephony."""

    def __init__(self, started_ns: int, throughout: Sequence[Price] = ()) -> None:
        self._started_ns = started_ns
        self._throughout = throughout
        self._meters: dict[str, _Meter] = {}
        self._usd: dict[tuple[str, str], float] = defaultdict(float)

    def use(
        self, component: str, provider: str, price: Price, now_ns: int, *, audio_s: float = 0.0, characters: int = 0
    ) -> None:
        """Take note that `provider` did this component's work for a turn."""
        key = component, provider
        match price.per:
            case "conversation-minute":
                self._pay_until(component, provider, price, now_ns)
            case "audio-minute":
                self._usd[key] += price.usd * audio_s / 60
            case "1k-characters":
                self._usd[key] += price.usd * characters / 1000

    def close(self, now_ns: int) -> CallCost:
        """Return the cost of the call, which ends now."""
        for component, meter in self._meters.items():
            self._pay_until(component, meter.provider, meter.price, now_ns)
        minutes = (now_ns - self._started_ns) / NS_PER_MINUTE
        for price in self._throughout:
            self._usd[price.component, price.name] += price.usd * minutes
        return CallCost(minutes, dict(self._usd))

    def _pay_until(self, component: str, provider: str, price: Price, now_ns: int) -> None:
        meter = self._meters.get(component)
        paid_until_ns = meter.paid_until_ns if meter is not None else self._started_ns
        self._usd[component, provider] += price.usd * max(0, now_ns - paid_until_ns) / NS_PER_MINUTE
        self._meters[component] = _Meter(max(paid_until_ns, now_ns), provider, price)
