"""The Python end of a ring that the loop's thread writes: rows as plain lists of integers.

A field of a numpy record costs Python some µs; all the rows that wait, seen as integers and read at once, cost a tenth
of one each. Thousands of calls are held and checked for consent through here.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.media.hot import rings
from harness.media.hot.jit import INTERPRETED, compiled


@compiled
def _written(cells: npt.NDArray[np.int64]) -> int:
    """Return how many rows were ever written; what they hold has been written before."""
    return rings.load_acquire(cells, rings._WRITTEN)  # noqa: SLF001 - the ring's own cell


@compiled
def _release(cells: npt.NDArray[np.int64], read: int) -> None:
    """Tell the writer how many rows were ever read."""
    rings.store_release(cells, rings._READ, read)  # noqa: SLF001 - as above


class RingReader:
    """Takes the rows of one ring in order, as its only reader; all fields of its row type are 64-bit integers."""

    def __init__(self, rows: Any, cells: npt.NDArray[np.int64], row_type: np.dtype[Any]) -> None:
        self._rows = rows
        self._cells = cells
        self._mask = len(rows) - 1
        self._names = row_type.names or ()
        self._read = int(cells[rings._READ])  # noqa: SLF001 - as above
        self._numbers: npt.NDArray[np.int64] | None = None
        if not INTERPRETED:
            self._numbers = rows.view(np.ndarray).view(np.int64).reshape(len(rows), len(self._names))

    def waiting(self) -> int:
        """Return how many rows wait."""
        return int(_written(self._cells)) - self._read

    def indices(self, count: int) -> list[int]:
        """Return the indices of the next `count` rows."""
        return [at & self._mask for at in range(self._read, self._read + count)]

    def rows(self, count: int) -> list[list[int]]:
        """Return the fields of the next `count` rows, in the order of their type; they stay where they are."""
        first = self._read & self._mask
        end = first + count
        if end <= len(self._rows):
            return self._slice(first, end)
        return self._slice(first, len(self._rows)) + self._slice(0, end & self._mask)

    def release(self, count: int) -> None:
        """Give the next `count` rows back to the writer."""
        self._read += count
        _release(self._cells, self._read)

    def take(self, count: int) -> list[list[int]]:
        """Return the next `count` rows and give them back."""
        taken = self.rows(count)
        self.release(count)
        return taken

    def _slice(self, first: int, end: int) -> list[list[int]]:
        if self._numbers is not None:
            fields: list[list[int]] = self._numbers[first:end].tolist()
            return fields
        return [[int(getattr(row, name)) for name in self._names] for row in self._rows[first:end]]
