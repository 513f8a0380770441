"""Which of the last numbers of a stream were seen: a bit a number, at its place modulo the list's length.

The list is an array of i8 words; numbers are extended ones (RFC 3550 A.1, RFC 3711 3.3.1), which go on rising. Who asks
for a number further back than the list goes must know that it cannot tell.
"""

from typing import Any

from harness.media.hot.jit import compiled

# Few enough for shifts of signed integers.
BITS = 32


@compiled
def was_seen(seen: Any, highest: int, number: int) -> bool:
    """Tell whether a number was seen; `highest` is the highest that was."""
    place = number % (len(seen) * BITS)
    return bool(number <= highest and (seen[place // BITS] >> (place % BITS)) & 1)


@compiled
def see(seen: Any, highest: int, number: int) -> int:
    """Note a number; return the highest seen now."""
    count = len(seen) * BITS
    # The places of those skipped are still those of numbers a round before.
    for skipped in range(max(highest, number - count) + 1, number):
        seen[skipped % count // BITS] &= ~(1 << skipped % BITS)
    seen[number % count // BITS] |= 1 << number % BITS
    return int(max(highest, number))
