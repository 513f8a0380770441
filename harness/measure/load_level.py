"""How many calls were up when a turn's user had spoken: the turn's `load`, in steps of 1, 2, 5."""

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from harness.model.records import CallRecord, TurnRecord

LOAD = "load"


def with_load(turns: Sequence[TurnRecord], calls: Sequence[CallRecord]) -> list[TurnRecord]:
    """Return the turns tagged with the load level of the instant their user stopped speaking.

    A call is up from its connection to its end; one without an end on record counts in no level. A turn that ended
    before its user did has no level, and a turn that has one already keeps it.
    """
    up = [call for call in calls if call.connected_at_ns is not None]
    starts = sorted(call.connected_at_ns or 0 for call in up)
    ends = sorted(call.ended_at_ns for call in up)

    def tagged(turn: TurnRecord) -> TurnRecord:
        at = turn.speech_ended_at_ns
        if at is None or LOAD in turn.tags:
            return turn
        n = bisect_right(starts, at) - bisect_left(ends, at)
        return dataclasses.replace(turn, tags={**turn.tags, LOAD: level_of(n)}) if n > 0 else turn

    return [tagged(turn) for turn in turns]


def level_of(n: int) -> str:
    """Return the level of `n` calls (1 or more): "1", "2-4", "5-9", "10-19", "20-49", and so on."""
    if n == 1:
        return "1"
    scale = 10 ** (len(str(n)) - 1)
    low, high = next((a, b) for a, b in ((1, 2), (2, 5), (5, 10)) if a * scale <= n < b * scale)
    return f"{low * scale}-{high * scale - 1}"
