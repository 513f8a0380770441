"""The level of each 5 ms window of decoded audio, in dBFS (a full-scale sine is -3)."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.media.hot.jit import compiled
from harness.media.hot.onset import SILENCE_DBFS, WINDOW_MS

_FULL_SCALE_POWER = 32768.0 * 32768.0
# For `window_levels`: samples are linear.
LINEAR: npt.NDArray[np.int64] = np.zeros(0, np.int64)
# What a row carries of a window that its packet did not fill.
FIELDS: list[tuple[Any, ...]] = [("part_power", "f8"), ("part_samples", "i8")]


@compiled
def level_dbfs(power: float) -> float:
    """Return the level of a mean square of int16 samples."""
    if power == 0.0:
        # Digital silence, which half of all packets are.
        return SILENCE_DBFS
    return max(10.0 * math.log10(power / _FULL_SCALE_POWER + 1e-12), SILENCE_DBFS)


@compiled
def forget_part(row: Any) -> None:
    """Drop what the last packet left of a window: the next packet does not follow on it."""
    row.part_power = 0.0
    row.part_samples = 0


@compiled
def window_levels(
    row: Any, samples: Any, start: int, count: int, samples_per_ms: int, squares: Any, levels: Any
) -> int:
    """Write the level of each window that `count` samples from `start` on complete; return how many.

    `samples` are linear, or codes of which `squares` has the square, shape (256,); it is empty for linear ones. A rest
    is kept in the row for the next packet: packets may be shorter than a window, or no multiple of it.
    """
    size = samples_per_ms * WINDOW_MS
    power, filled, windows = row.part_power, row.part_samples, 0
    at, end = start, start + count
    while at < end:
        until = min(end, at + size - filled)
        power += _energy(samples, at, until) if len(squares) == 0 else _energy_of_codes(samples, at, until, squares)
        filled += until - at
        at = until
        if filled == size:
            if windows < len(levels):
                levels[windows] = level_dbfs(power / size)
                windows += 1
            power, filled = 0.0, 0
    row.part_power = power
    row.part_samples = filled
    return windows


@compiled
def _energy(pcm: Any, start: int, end: int) -> int:
    total = 0
    # Indices that cannot be negative need no look whether they count from the end: twice as fast.
    for i in range(np.uint64(start), np.uint64(end)):
        sample = np.int64(pcm[i])
        total += int(sample * sample)
    return total


@compiled
def _are_all_one(codes: Any, start: int, end: int) -> bool:
    differing = 0
    for i in range(np.uint64(start), np.uint64(end)):
        differing |= codes[i] ^ codes[np.uint64(start)]
    return bool(differing == 0)


@compiled
def _energy_of_codes(codes: Any, start: int, end: int, squares: Any) -> int:
    if codes[start] == codes[end - 1] and _are_all_one(codes, start, end):
        # Half of all windows are one code over and over, and telling that takes a tenth of the look-ups.
        return int((end - start) * squares[codes[start]])
    total = 0
    for i in range(np.uint64(start), np.uint64(end)):
        total += squares[np.uint64(codes[i])]
    return total


@compiled
def highest(levels: Any, count: int) -> float:
    """Return the highest of the first `count` levels."""
    top = SILENCE_DBFS
    for i in range(count):
        top = max(top, levels[i])
    return top
