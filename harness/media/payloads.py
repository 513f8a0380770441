"""The packets of an utterance in one piece of memory: an object each, they would take twice as much."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import overload


class Payloads(Sequence[bytes]):
    """Payloads one behind another; an item is cut out anew each time it is asked for."""

    __slots__ = ("_bounds", "joined")

    def __init__(self, payloads: Iterable[bytes]) -> None:
        kept = tuple(payloads)
        self.joined = b"".join(kept)
        # Where each begins, and the end of the last one.
        self._bounds = array("I", accumulate(map(len, kept), initial=0))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        """Return one, or some."""
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        at = range(len(self))[index]
        return self.joined[self._bounds[at] : self._bounds[at + 1]]

    def __iter__(self) -> Iterator[bytes]:
        """Yield each."""
        return (self.joined[begin:end] for begin, end in pairwise(self._bounds))

    @property
    def lengths(self) -> list[int]:
        """Bytes of each."""
        return [end - begin for begin, end in pairwise(self._bounds)]
