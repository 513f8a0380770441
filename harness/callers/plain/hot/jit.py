"""Compiling, as the media loop does it, with what is compiled kept by the state of these sources and of theirs."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from harness.media.hot import jit
from harness.media.hot.jit import INTERPRETED, MODE

__all__ = ["INTERPRETED", "MODE", "compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _folder() -> str:
    """Return where numba keeps this package's code: beside the media loop's, under a name of its own."""
    import numba  # noqa: PLC0415 - optional

    beside = Path(cast("Any", numba.config).CACHE_DIR)
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *sorted(Path(jit.__file__).parent.glob("*.py"))]
    stamps = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sources]
    return str(beside.with_name(f"numba-sip-{zlib.crc32(chr(10).join(stamps).encode()):08x}"))


def compiled(function: _Function) -> _Function:
    """Compile `function` at its first call (kept on disk), or return it as it is."""
    if INTERPRETED or os.environ.get("NUMBA_CACHE_DIR"):
        return jit.compiled(function)
    import numba  # noqa: PLC0415 - optional

    config = cast("Any", numba.config)
    before = config.CACHE_DIR
    # Read when a function is decorated, so that this one alone goes there.
    config.CACHE_DIR = _FOLDER
    try:
        return jit.compiled(function)
    finally:
        config.CACHE_DIR = before


_FOLDER = "" if INTERPRETED or os.environ.get("NUMBA_CACHE_DIR") else _folder()
