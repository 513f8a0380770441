"""The highest rate of short calls that somebody sustains: what counts as sustained, and the climb to it. Pure."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

# Less than this share of calls completed, or of the rate asked for, and the rate was not sustained.
LEAST_COMPLETED = 0.999
LEAST_OF_RATE = 0.99
# Messages sent again, per call placed: whoever reads too slowly makes its peer, or its own timers, send again.
MOST_RESENT = 0.001


@dataclass(frozen=True, slots=True)
class Held:
    """One rate held for some seconds by one competitor."""

    asked_per_s: float
    placed: int
    completed: int
    # From the first call's due time to the end of the last call.
    seconds: float
    resent: int
    # User and system time of the calling process while it held the rate.
    cpu_s: float
    peer_cpu_s: float
    # Whatever else is known.
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def achieved_per_s(self) -> float:
        """Calls completed a second."""
        return self.completed / self.seconds if self.seconds > 0 else 0.0

    @property
    def cpu_us_per_call(self) -> float:
        """CPU time of the caller a completed call."""
        return self.cpu_s * 1e6 / max(1, self.completed)

    @property
    def faults(self) -> list[str]:
        """Why the rate was not sustained; [] where it was."""
        found = []
        if self.completed < LEAST_COMPLETED * self.placed:
            found.append(f"{self.completed / max(1, self.placed):.2%} completed")
        if self.achieved_per_s < LEAST_OF_RATE * self.asked_per_s:
            found.append(f"{self.achieved_per_s:,.0f} calls a second achieved")
        if self.resent > MOST_RESENT * self.placed:
            found.append(f"{self.resent} messages sent again")
        return found

    def __str__(self) -> str:
        told = "; ".join(self.faults) or "sustained"
        return (
            f"{self.asked_per_s:,.0f} calls/s: {told}; {self.cpu_us_per_call:.0f} us of CPU a call, "
            f"{self.cpu_s / self.seconds:.0%} of a core, the peer {self.peer_cpu_s / self.seconds:.0%}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything, derived figures included."""
        derived = {name: getattr(self, name) for name in ("achieved_per_s", "cpu_us_per_call", "faults")}
        return {**asdict(self), **derived}


Hold = Callable[[float], Held]


@dataclass(slots=True)
class Climb:
    """Finds the highest rate held: up by `factor` until a rate fails, then `halvings` times between the two."""

    first: float
    factor: float
    halvings: int
    # A rate counts as sustained when one of so many tries was: others use this machine, too.
    tries: int
    highest: float = 100_000.0
    held: list[Held] = field(default_factory=list)

    def run(self, hold: Hold, say: Callable[[str], None] = lambda _line: None) -> Held | None:
        """Return the best that was sustained, None where not even the first rate was."""
        best, rate = None, self.first
        while rate <= self.highest and not (found := self._try(rate, hold, say)).faults:
            best, rate = found, rate * self.factor
        if best is None or rate > self.highest:
            return best
        low, high = best.asked_per_s, rate
        for _ in range(self.halvings):
            middle = (low + high) / 2
            found = self._try(middle, hold, say)
            if found.faults:
                high = middle
            else:
                best, low = found, middle
        return best

    def _try(self, rate: float, hold: Hold, say: Callable[[str], None]) -> Held:
        for _ in range(self.tries):
            found = hold(rate)
            self.held.append(found)
            say(str(found))
            if not found.faults:
                break
        return found
