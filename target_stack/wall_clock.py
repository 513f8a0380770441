"""The wall clock as this process has it. Durations never come from it, so that a wrong one spoils no measurement."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Skew = Callable[[], timedelta]


class WallClock:
    """UTC, and whatever makes it wrong on purpose. A process has one clock, so there is one of these: CLOCK."""

    def __init__(self, true_now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._true_now = true_now
        # Each is asked at every reading by how much it is wrong.
        self.skews: list[Skew] = []

    def now(self) -> datetime:
        """Return the time that the process takes for true."""
        return self._true_now() + sum((skew() for skew in self.skews), timedelta())


CLOCK = WallClock()
