"""The Python end of a ring that the loop's thread writes: rows as plain lists of integers.

A field of a numpy record costs Python some µs, a compiled call with a table of records as argument more; one row of
the same bytes seen as integers costs half a µs. Thousands of calls are checked for consent through here.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.media.hot import rings
from harness.media.hot.jit import INTERPRETED, compiled


@compiled
def _unread(cells: npt.NDArray[np.int64]) -> int:
    """Return how many rows wait; what they hold has been written before."""
    return rings.load_acquire(cells, rings._WRITTEN) - rings.load_acquire(cells, rings._READ)  # noqa: SLF001 - the ring's own cells


class RingReader:
    """Takes the rows of one ring in order; all fields of its row type are 64-bit integers."""

    def __init__(self, rows: Any, cells: npt.NDArray[np.int64], row_type: np.dtype[Any]) -> None:
        self._rows = rows
        self._cells = cells
        self._mask = len(rows) - 1
        self._names = row_type.names or ()
        self._numbers: npt.NDArray[np.int64] | None = None
        if not INTERPRETED:
            self._numbers = rows.view(np.ndarray).view(np.int64).reshape(len(rows), len(self._names))

    def waiting(self) -> int:
        """Return how many rows wait."""
        return int(_unread(self._cells))

    def next_index(self) -> int:
        """Return the index of the row to be read next, -1 when there is none."""
        if not _unread(self._cells):
            return -1
        return int(self._cells[rings._READ]) & self._mask  # noqa: SLF001 - as above

    def row(self, index: int) -> list[int]:
        """Return the fields of a row, in the order of its type."""
        if self._numbers is not None:
            fields: list[int] = self._numbers[index].tolist()
            return fields
        row = self._rows[index]
        return [int(getattr(row, name)) for name in self._names]

    def release(self) -> None:
        """Give the row read back to the writer."""
        rings.release(self._cells)
