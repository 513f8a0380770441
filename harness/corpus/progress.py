"""How long a build still takes: from the pace of what had to be made, over what is left."""

import time
from collections.abc import Sequence


class Progress:
    """Counts work done. `work` are the amounts of the steps, in any one unit."""

    def __init__(self, work: Sequence[float], now: float | None = None) -> None:
        self._work = list(work)
        self._left = sum(work)
        self._made = 0.0
        self._began = time.monotonic() if now is None else now

    def step(self, index: int, *, is_new: bool, now: float | None = None) -> str:
        """Count step `index` as done; return ", about 3 min left", or "" while nothing can be said.

        What was found ready (`is_new` False) says nothing about the pace.
        """
        self._left -= self._work[index]
        self._made += self._work[index] if is_new else 0.0
        if not self._made or self._left <= 0:
            return ""
        now = time.monotonic() if now is None else now
        return f", about {spell_duration((now - self._began) * self._left / self._made)} left"


def spell_duration(seconds: float) -> str:
    """Return "40 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
