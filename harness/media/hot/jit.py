"""One source, two ways to run it: compiled by numba without the GIL, or interpreted as it stands.

Everything in this package is written in the part of Python that numba compiles: integers, floats, arrays and rows of
tables. A row is a numpy record when compiled and a small object with the same attributes when interpreted, so the
same functions run, and can be stepped through, where numba is absent or not wanted (CALLQUAKE_MEDIA=python).

Integers in rows are all signed 64 bit: numba turns a mix of signed and unsigned into floats.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MODE_VARIABLE = "CALLQUAKE_MEDIA"
_MODES = ("compiled", "python")
LINE_BYTES = 64


def _is_interpreted() -> bool:
    wanted = os.environ.get(_MODE_VARIABLE, "")
    if wanted and wanted not in _MODES:
        raise ValueError(f"{_MODE_VARIABLE}={wanted} is unknown; legal: {', '.join(_MODES)}")
    if wanted == "python":
        return True
    try:
        import numba  # noqa: F401, PLC0415 - tells whether it is there
    except ImportError:
        if wanted == "compiled":
            raise
        return True
    return False


def _keep_by_sources() -> None:
    """Have numba keep what it compiles in a folder of this very state of our sources.

    Numba looks at the time of a function's own file only: a function whose callee, or a constant, changed in another
    file would go on running the old one.
    """
    import numba  # noqa: PLC0415 - optional

    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    stamps = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sources]
    name = f"{zlib.crc32(chr(10).join(stamps).encode()):08x}"
    beside = Path(__file__).parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callquake"
    kept = beside if os.access(beside if beside.is_dir() else beside.parent, os.W_OK) else home
    cast("Any", numba.config).CACHE_DIR = str(kept / f"numba-{name}")


INTERPRETED = _is_interpreted()
MODE = "python" if INTERPRETED else "compiled"
if not INTERPRETED:
    _keep_by_sources()


def compiled(function: _Function) -> _Function:
    """Compile `function` for its argument types at its first call (kept on disk), or return it as it is."""
    if INTERPRETED:
        return function
    import numba  # noqa: PLC0415 - optional

    # Without reference counts, of which each call of each function would take and return one a table: the loop's
    # tables outlive it. `_nrt` is numba's name for that, missing from its type stubs.
    options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}
    jitted: Any = numba.njit(**options)(function)
    return cast("_Function", jitted)


def whole_lines(row: np.dtype[Any]) -> np.dtype[Any]:
    """Return the same row, but of whole cache lines."""
    fields: Any = row.fields
    names: Any = row.names
    return np.dtype(
        {
            "names": list(names),
            "formats": [fields[name][0] for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": -(-row.itemsize // LINE_BYTES) * LINE_BYTES,
        }
    )


def make_table(row: np.dtype[Any], count: int) -> Any:
    """Return `count` zeroed rows of the structured type `row`; rows have its fields as attributes."""
    if INTERPRETED:
        return [_row_object(row) for _ in range(count)]
    # Begun at a cache line: rows that fill whole lines then share none.
    memory = np.zeros(count * row.itemsize + LINE_BYTES, np.uint8)
    start = -address_of(memory) % LINE_BYTES
    return memory[start : start + count * row.itemsize].view(row).view(np.recarray)


class _Row:
    """A row when interpreted; a plain object is several times faster than numpy's record."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def _row_object(row: np.dtype[Any]) -> _Row:
    made = _Row()
    for name in row.names or ():
        field = row[name]
        if field.shape:
            setattr(made, name, np.zeros(field.shape, field.base))
        else:
            setattr(made, name, 0.0 if field.kind == "f" else 0)
    return made


def clear_row(row: Any, dtype: np.dtype[Any]) -> None:
    """Set every field of one row to zero; called from Python only."""
    if not INTERPRETED:
        # In one go: field by field, a call's rows take a third of a millisecond.
        row.setfield(np.zeros((), dtype), dtype)
        return
    for name in dtype.names or ():
        if dtype[name].shape:
            getattr(row, name)[...] = 0
        else:
            setattr(row, name, 0.0 if dtype[name].kind == "f" else 0)


def address_of(array: npt.NDArray[Any]) -> int:
    """Return the memory address of an array's first element; the array must be kept alive by the caller."""
    return int(array.ctypes.data)
