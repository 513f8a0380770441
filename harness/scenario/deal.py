"""Which target each call of a run goes to, and which story it tells there.

The k-th call of every target tells story k: the same caller with the same words, pauses and patience, whatever the
shares. Calls are dealt out so that after any number of them each target has its share, to within one call. Where two
targets are due at once the seed decides: a fixed order would have one of them always called first, and always by
the same worker where workers take every n-th call.
"""

import random
from array import array
from collections.abc import Sequence

# Shares are floats: what differs by less is equal.
_TIE = 1e-6


class Deal:
    """Deals out the calls of one run over targets; equal shares and seed give an equal deal."""

    def __init__(self, shares: Sequence[float], seed: int) -> None:
        total = sum(shares)
        self._shares = [share / total for share in shares]
        self._rng = random.Random(f"{seed}/targets")
        self._dealt = [0] * len(shares)
        # Of each call so far: the number of its target, and its story.
        self._targets, self._stories = array("H"), array("L")

    def __getitem__(self, index: int) -> tuple[int, int]:
        """Return (target's place in `shares`, story from 0) of call `index`."""
        if len(self._shares) == 1:
            return 0, index
        while len(self._targets) <= index:
            self._deal_next()
        return self._targets[index], self._stories[index]

    def _deal_next(self) -> None:
        number = len(self._targets) + 1
        # A target without a share is never due, however far the others are ahead.
        due = [
            share * number - dealt if share else -1.0 for share, dealt in zip(self._shares, self._dealt, strict=True)
        ]
        most = max(due)
        chosen = self._rng.choice([i for i, missing in enumerate(due) if missing > most - _TIE])
        self._targets.append(chosen)
        self._stories.append(self._dealt[chosen])
        self._dealt[chosen] += 1
