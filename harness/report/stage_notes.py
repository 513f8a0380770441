"""Why the agent's own account of its turns can be longer than what their callers waited."""

from collections.abc import Iterable
from statistics import median

from harness.measure.stages import breakdown_of
from harness.model.records import TurnRecord

# An agent's packets begin every 20 ms, so that a TTFB is no finer; what is beyond it is a difference.
_PACKET_MS = 20.0
# Of fewer a turn's luck is all there is to tell.
_LEAST_SHARE = 0.1


def notes_of_stages(turns: Iterable[TurnRecord]) -> list[str]:
    """Return a sentence where `other` is below zero, by more than a packet, in a tenth of the turns; else []."""
    others = [part for b in map(breakdown_of, turns) if b is not None and (part := b.parts["other"]) is not None]
    below = [other for other in others if other < -_PACKET_MS]
    if not others or len(below) < _LEAST_SHARE * len(others):
        return []
    return [
        (
            f"The agent's own times add up to more than TTFB in {len(below)} of {len(others)} turns (stage other below "
            f"zero, {median(below):.0f} ms at their median): it counts from the last voice that its own detector "
            "heard, TTFB from the clip's last voiced packet. Where soft endings or noise hide the end from it, it has "
            "been waiting for longer than the caller has."
        )
    ]
