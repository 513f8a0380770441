"""Lock-free rings between Python's threads and the media loop: one writer and one reader each.

A ring is a table of rows and two cells, the counts of rows ever written and ever read. The writer fills a row and then
publishes the count with release order; the reader takes the count with acquire order, so it never sees half a row.
A full ring refuses; the writer counts what was refused.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.hot.jit import INTERPRETED, compiled, make_table
from harness.media.hot.tables import bundle

COMMAND = np.dtype([("kind", "i8"), ("call", "i8"), ("clip", "i8"), ("at_ns", "i8")])
EVENT = np.dtype([("kind", "i8"), ("call", "i8"), ("generation", "i8"), ("at_ns", "i8"), ("value", "i8")])
# What is passed up whole: a datagram for the set-up protocols, or one packet of agent audio to be recorded.
PARCEL = np.dtype(
    [
        ("kind", "i8"),
        ("call", "i8"),
        ("generation", "i8"),
        ("port", "i8"),
        ("at_ns", "i8"),
        ("value", "i8"),
        ("length", "i8"),
        ("name_length", "i8"),
    ]
)
PARCEL_BYTES = 1536
NAME_BYTES = 28
_WRITTEN, _READ = 0, 8  # a cache line apart


@bundle
class Ring(NamedTuple):
    """Rows and the two counts."""

    rows: Any
    cells: npt.NDArray[np.int64]


@bundle
class Parcels(NamedTuple):
    """A ring whose rows carry bytes."""

    rows: Any
    cells: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]
    names: npt.NDArray[np.uint8]


def new_ring(row: np.dtype[Any], count: int) -> Ring:
    """Return an empty ring of `count` rows, a power of two."""
    return Ring(make_table(row, count), np.zeros(16, np.int64))


def new_parcels(count: int) -> Parcels:
    """Return an empty ring of `count` parcels, a power of two."""
    return Parcels(
        make_table(PARCEL, count),
        np.zeros(16, np.int64),
        np.zeros((count, PARCEL_BYTES), np.uint8),
        np.zeros((count, NAME_BYTES), np.uint8),
    )


if INTERPRETED:

    def load_acquire(cells: npt.NDArray[np.int64], index: int) -> int:
        """Read one cell; later reads see what its writer wrote before."""
        return int(cells[index])

    def store_release(cells: npt.NDArray[np.int64], index: int, value: int) -> None:
        """Write one cell after everything written before."""
        cells[index] = value

else:
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    def _cell(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
        data = context.make_array(array_type)(context, builder, array).data
        return cgutils.gep(builder, data, index)

    @intrinsic
    def load_acquire(_typing: Any, cells: Any, index: Any) -> Any:
        """Read one cell; later reads see what its writer wrote before."""

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.load_atomic(_cell(context, builder, cells, *arguments), "acquire", 8)

        return types.int64(cells, index), generate

    @intrinsic
    def store_release(_typing: Any, cells: Any, index: Any, value: Any) -> Any:
        """Write one cell after everything written before."""

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            array, position, number = arguments
            builder.store_atomic(number, _cell(context, builder, cells, array, position), "release", 8)
            return context.get_dummy_value()

        return types.void(cells, index, value), generate


@compiled
def free_row(rows: Any, cells: Any) -> int:
    """Return the index of the row to write next, -1 when the ring is full."""
    written = load_acquire(cells, _WRITTEN)
    if written - load_acquire(cells, _READ) >= len(rows):
        return -1
    return written & (len(rows) - 1)


@compiled
def publish(cells: Any) -> None:
    """Hand the row given by `free_row` to the reader."""
    store_release(cells, _WRITTEN, load_acquire(cells, _WRITTEN) + 1)


@compiled
def waiting_row(rows: Any, cells: Any) -> int:
    """Return the index of the row to read next, -1 when there is none."""
    read = load_acquire(cells, _READ)
    if read == load_acquire(cells, _WRITTEN):
        return -1
    return read & (len(rows) - 1)


@compiled
def release(cells: Any) -> None:
    """Give the row given by `waiting_row` back to the writer."""
    store_release(cells, _READ, load_acquire(cells, _READ) + 1)


@compiled
def put_command(ring: Ring, kind: int, call: int, clip: int, at_ns: int) -> bool:
    """Write one command; False when the ring is full."""
    index = free_row(ring.rows, ring.cells)
    if index < 0:
        return False
    row = ring.rows[index]
    row.kind = kind
    row.call = call
    row.clip = clip
    row.at_ns = at_ns
    publish(ring.cells)
    return True


@compiled
def put_event(ring: Ring, kind: int, call: int, generation: int, at_ns: int, value: int) -> bool:
    """Write one event; False when the ring is full."""
    index = free_row(ring.rows, ring.cells)
    if index < 0:
        return False
    row = ring.rows[index]
    row.kind = kind
    row.call = call
    row.generation = generation
    row.at_ns = at_ns
    row.value = value
    publish(ring.cells)
    return True
