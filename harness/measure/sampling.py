"""Which turns of a long run are scored: all up to a number, beyond it a seeded sample that stays the same each time.

A turn is in the sample by a hash of the seed and of which turn it is. So equal records give an equal sample, in
whatever order they come, and a turn drawn at a small share is drawn at every larger one.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
# Aligning and normalising so many takes some ten seconds; no interval is widened by more than a fraction of a point.
AT_MOST = 20_000
_SPAN = 2**64


@dataclass(frozen=True, slots=True)
class Sampling:
    """`share` (above 0, to 1) of the turns, and of these no more than `at_most`."""

    share: float = 1.0
    at_most: int = AT_MOST


def draw(items: Sequence[T], key: Callable[[T], object], sampling: Sampling, seed: int) -> list[T]:
    """Return the sample of `items` in their order; `key` tells one item from another, by its repr."""
    if sampling.share >= 1 and len(items) <= sampling.at_most:
        return list(items)
    ranks = [_rank(seed, key(item)) for item in items]
    chosen = [i for i, rank in enumerate(ranks) if rank < sampling.share * _SPAN]
    if len(chosen) > sampling.at_most:
        chosen = sorted(sorted(chosen, key=ranks.__getitem__)[: sampling.at_most])
    return [items[i] for i in chosen]


def _rank(seed: int, key: object) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{key!r}".encode(), digest_size=8).digest())
