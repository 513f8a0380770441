"""Which target each call of a run goes to, and which story it tells there.

The k-th call of every target tells story k: the same caller with the same words, pauses and patience, whatever the
shares. Calls are dealt out by chance, within bounds: a target that is a whole call behind its share is next, and none
that has had its share is chosen. So each has its share after any number of calls, to within one or two, and with equal
shares each round has everybody once. By chance, for in a fixed order one target would always be called first, or
always by the same worker, where workers take every n-th call.
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
        due = [share * number - dealt for share, dealt in zip(self._shares, self._dealt, strict=True)]
        most = max(due)
        if most > 1 - _TIE:
            chosen = self._rng.choice([i for i, missing in enumerate(due) if missing > most - _TIE])
        else:
            # Together they are due one call, so that one of them is.
            chosen = self._rng.choices(range(len(due)), [missing if missing > _TIE else 0.0 for missing in due])[0]
        self._targets.append(chosen)
        self._stories.append(self._dealt[chosen])
        self._dealt[chosen] += 1
