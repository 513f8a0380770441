"""Big-endian integers into and out of byte rows."""

from typing import Any

from harness.media.hot.jit import compiled


@compiled
def put16(row: Any, at: int, value: int) -> None:
    """Write 16 bits."""
    row[at] = (value >> 8) & 0xFF
    row[at + 1] = value & 0xFF


@compiled
def put32(row: Any, at: int, value: int) -> None:
    """Write 32 bits."""
    row[at] = (value >> 24) & 0xFF
    row[at + 1] = (value >> 16) & 0xFF
    row[at + 2] = (value >> 8) & 0xFF
    row[at + 3] = value & 0xFF


@compiled
def get16(row: Any, at: int) -> int:
    """Read 16 bits."""
    return (int(row[at]) << 8) | int(row[at + 1])


@compiled
def get32(row: Any, at: int) -> int:
    """Read 32 bits."""
    return (get16(row, at) << 16) | get16(row, at + 2)
