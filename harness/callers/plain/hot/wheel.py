"""A timing wheel: each call has one time at which it is looked at again, in ticks of a millisecond, rounded up."""

from typing import Any

from harness.callers.plain.hot.jit import compiled
from harness.callers.plain.hot.layout import TICKS, Call, Cell

_NS_PER_TICK = 1_000_000
_FARTHEST = TICKS - 2


@compiled
def unset_timer(tables: Any, index: int) -> None:
    """Take a call out of the wheel."""
    call = tables.calls[index]
    tick = call[Call.TICK]
    if tick == 0:
        return
    after, before = call[Call.NEXT], call[Call.PREVIOUS]
    if before:
        tables.calls[before - 1, Call.NEXT] = after
    else:
        tables.wheel[tick & (TICKS - 1)] = after
    if after:
        tables.calls[after - 1, Call.PREVIOUS] = before
    call[Call.TICK] = 0


@compiled
def set_timer(tables: Any, index: int, at_ns: int) -> None:
    """Have a call looked at again at that time, or somewhat before it where it is more than a minute off."""
    unset_timer(tables, index)
    call, served = tables.calls[index], tables.cells[Cell.TICK]
    tick = min(max(-(-at_ns // _NS_PER_TICK), served), served + _FARTHEST)
    place = tick & (TICKS - 1)
    first = tables.wheel[place]
    call[Call.TICK], call[Call.NEXT], call[Call.PREVIOUS] = tick, first, 0
    if first:
        tables.calls[first - 1, Call.PREVIOUS] = index + 1
    tables.wheel[place] = index + 1


@compiled
def next_ns(tables: Any, until_ns: int) -> int:
    """Return when a call is to be looked at next, or `until_ns` when there is none before."""
    tick, last = tables.cells[Cell.TICK], until_ns // _NS_PER_TICK
    while tick < last:
        if tables.wheel[tick & (TICKS - 1)]:
            return int(tick * _NS_PER_TICK)
        tick += 1
    return until_ns
