"""How long a piece of work takes: from its size, how many are in work beside it, and its place in the spread. Pure."""

from bisect import bisect_left
from collections.abc import Sequence

from target_stack.emulation.seeded import quantile
from target_stack.emulation.service_times import Level, Table


def work_ms(levels: Sequence[Level], units: float, at_once: int, share: float) -> float:
    """Return the time of a piece of `units` with `at_once` in work, itself included.

    `share` (0 to 1) is its place in the spread. Between two levels the time is interpolated; beyond the last it grows
    in proportion to `at_once`, as on a machine that is full; below the first it is the first's.
    """
    index = bisect_left(levels, at_once, key=lambda level: level.at_once)
    if index == len(levels):
        last = levels[-1]
        return _of_level(last, units, share) * at_once / last.at_once
    above = levels[index]
    if index == 0 or above.at_once == at_once:
        return _of_level(above, units, share)
    below = levels[index - 1]
    weight = (at_once - below.at_once) / (above.at_once - below.at_once)
    return (1 - weight) * _of_level(below, units, share) + weight * _of_level(above, units, share)


def _of_level(level: Level, units: float, share: float) -> float:
    return (level.base_ms + level.per_unit_ms * units) * quantile(level.spread, share)


def batch_ms(alone_ms: Sequence[float], factors: Table) -> float:
    """Return the time of a batch of sentences that would take `alone_ms` each: its mean one's, times its size's factor.

    A batch larger than the table's last row goes on at that row's time a sentence.
    """
    size = len(alone_ms)
    last_size, last_factor = factors[-1]
    factor = quantile(factors, size) if size <= last_size else last_factor * size / last_size
    return factor * sum(alone_ms) / size
