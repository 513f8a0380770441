"""Bundles and rows: compiled code and Python see the same fields of the same memory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from harness.media.hot.jit import address_of, clear_row, compiled, make_table
from harness.media.hot.tables import bundle

pytestmark = pytest.mark.unit

ROW = np.dtype([("a", "i8"), ("few", "u1", (3,)), ("b", "f8"), ("c", "i8")])


@bundle
class Inner(NamedTuple):
    first: int
    matrix: Any
    rows: Any


@bundle
class Outer(NamedTuple):
    bytes_: Any
    inner: Inner
    cube: Any
    last: int


def make():
    rows = make_table(ROW, 4)
    matrix = np.arange(6, dtype=np.int64).reshape(2, 3)
    cube = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    return Outer(np.arange(5, dtype=np.uint8), Inner(-7, matrix, rows), cube, 1 << 40)


@compiled
def read(outer: Any) -> tuple[int, ...]:
    """Return what lies at the ends of every field."""
    inner = outer.inner
    return (
        int(outer.bytes_[4]) + len(outer.bytes_),
        inner.first,
        inner.matrix[1, 2],
        inner.matrix.shape[1],
        int(outer.cube[1, 2, 3]),
        int(outer.cube[0, 1, 0]),
        len(inner.rows),
        inner.rows[3].a,
        int(inner.rows[3].few[2]),
        inner.rows[3].c,
        outer.last,
    )


@compiled
def write(outer: Any, value: int) -> None:
    """Write through the bundle."""
    row = outer.inner.rows[2]
    row.a = value
    row.few[1] = value
    row.b = value / 2
    outer.inner.matrix[0, 1] = value
    outer.cube[1, 0, 3] = value


def test_every_field_has_its_own_place():
    outer = make()
    row = outer.inner.rows[3]
    row.a, row.c = 11, 13
    row.few[2] = 12
    assert tuple(int(v) for v in read(outer)) == (9, -7, 5, 3, 23, 4, 4, 11, 12, 13, 1 << 40)


def test_what_compiled_code_writes_python_sees():
    outer = make()
    write(outer, 9)
    row = outer.inner.rows[2]
    assert (int(row.a), [int(v) for v in row.few], float(row.b), int(row.c)) == (9, [0, 9, 0], 4.5, 0)
    assert (int(outer.inner.matrix[0, 1]), int(outer.cube[1, 0, 3])) == (9, 9)
    assert int(outer.inner.rows[1].a) == int(outer.inner.rows[3].a) == 0


def test_a_bundle_keeps_its_arrays_alive():
    outers = [make() for _ in range(50)]
    for number, outer in enumerate(outers):
        write(outer, number)
    assert [int(outer.inner.rows[2].a) for outer in outers] == list(range(50))


def test_a_cleared_row_is_a_new_one_and_its_neighbours_stay():
    outer = make()
    for row in outer.inner.rows:
        row.a, row.b, row.c = 1, 2.0, 3
        row.few[:] = 4
    clear_row(outer.inner.rows[1], ROW)
    told = [(int(r.a), [int(v) for v in r.few], float(r.b), int(r.c)) for r in outer.inner.rows]
    full = (1, [4, 4, 4], 2.0, 3)
    assert told == [full, (0, [0, 0, 0], 0.0, 0), full, full]


def test_an_address_is_that_of_the_first_element():
    data = np.arange(10, dtype=np.uint8)
    assert address_of(data[4:]) == address_of(data) + 4


PROBE = """
import test_hot_tables as t
from harness.media.hot.jit import MODE
outer = t.make()
t.write(outer, 9)
print(MODE, [int(v) for v in t.read(outer)])
"""


@pytest.mark.parametrize("wanted", ["python", "compiled", "fast"])
def test_both_modes_read_and_write_the_same(wanted):
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    told = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "CALLQUAKE_MEDIA": wanted, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    if wanted == "fast":
        assert "CALLQUAKE_MEDIA=fast is unknown; legal: compiled, python" in told.stderr
        return
    outer = make()
    write(outer, 9)
    assert told.stdout.split(maxsplit=1) == [wanted, f"{[int(v) for v in read(outer)]}\n"], told.stderr
