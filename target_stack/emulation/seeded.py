"""Random numbers that follow from what they are for, so that a call's times are the same however many run beside it."""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b

_BITS = 53


def uniform(*key: object) -> float:
    """Return a number in [0, 1) that is the same for the same key, and unrelated for any other."""
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS)


def quantile(table: Sequence[tuple[float, float]], share: float) -> float:
    """Return the value at `share` (0 to 1) of a table of (share, value), both rising; linear in between."""
    index = bisect_left(table, share, key=lambda row: row[0])
    if index == 0:
        return table[0][1]
    if index == len(table):
        return table[-1][1]
    (low, at_low), (high, at_high) = table[index - 1], table[index]
    return at_low + (at_high - at_low) * (share - low) / (high - low)
