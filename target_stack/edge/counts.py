"""What the edge counts; touched on the event loop only."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class EdgeCounts:
    """`active_calls` is a gauge, from the accepted offer to the release; the rest only grows."""

    active_calls: int = 0
    # Offers by the HTTP status they were answered with.
    offers: Counter[int] = field(default_factory=Counter)
    # Ended calls by EndReason.
    calls_ended: Counter[str] = field(default_factory=Counter)
