"""From measured times to a level of the file: a straight line in the work, and the spread around it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from target_stack.emulation.service_times import Level, Table

# Where the spread is told; its ends are the smallest and largest measured.
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Timed:
    """One measured piece of work: its size and how long it took, waiting left out."""

    units: float
    ms: float


def level_of(at_once: int, measured: Sequence[Timed]) -> Level:
    """Return the level; ValueError where nothing was measured."""
    if not measured:
        raise ValueError(f"nothing was measured with {at_once} at once")
    base, slope = line_through(measured)
    expected = [base + slope * one.units for one in measured]
    ratios = [one.ms / at for one, at in zip(measured, expected, strict=True) if at > 0]
    return Level(
        at_once=at_once,
        base_ms=round(base, 3),
        per_unit_ms=round(slope, 4),
        spread=spread_of(ratios),
        n=len(measured),
    )


def line_through(measured: Sequence[Timed]) -> tuple[float, float]:
    """Return (base, slope) of least squares, neither below 0: more work takes no less."""
    x = np.array([one.units for one in measured])
    y = np.array([one.ms for one in measured])
    if np.ptp(x) == 0:
        return float(y.mean()), 0.0
    slope, base = np.polyfit(x, y, 1)
    if slope < 0:
        return float(y.mean()), 0.0
    if base < 0:
        return 0.0, float(np.dot(x, y) / np.dot(x, x))
    return float(base), float(slope)


def spread_of(ratios: Sequence[float]) -> Table:
    """Return the quantiles at SHARES, as the file has them."""
    if not ratios:
        return (0.0, 1.0), (1.0, 1.0)
    values = np.quantile(np.array(ratios), SHARES)
    return tuple((share, round(float(value), 4)) for share, value in zip(SHARES, values, strict=True))
