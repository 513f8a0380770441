"""WebRTC calls whose media did not come through: how many went on over a WebSocket, and what that cost."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.measure.calls import is_ours
from harness.measure.distribution import Sample
from harness.model.records import CallRecord


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """Calls that gave WebRTC up for a WebSocket."""

    # Of so many calls whose end was not ours.
    n_calls: int
    n_tried: int
    # Those of them that came up over the WebSocket.
    n_went_on: int
    # What WebRTC failed with.
    by_cause: dict[str, int] = field(default_factory=dict)
    # Begin of the set-up to giving WebRTC up, and from there to media over the WebSocket, in ms.
    after: Sample = field(default_factory=lambda: Sample([], []))
    took: Sample = field(default_factory=lambda: Sample([], []))


def went_on(call: CallRecord) -> bool:
    """Return whether the call came up over the WebSocket."""
    return call.fallback is not None and call.fallback.took_ms is not None


def measure(calls: Iterable[CallRecord]) -> Fallbacks:
    """Return the figures of `calls`."""
    counted = [call for call in calls if not is_ours(call)]
    tried = [call.fallback for call in counted if call.fallback is not None]
    return Fallbacks(
        n_calls=len(counted),
        n_tried=len(tried),
        n_went_on=sum(map(went_on, counted)),
        by_cause=dict(Counter(one.cause.value for one in tried).most_common()),
        after=Sample([one.after_ms for one in tried], []),
        took=Sample([one.took_ms for one in tried if one.took_ms is not None], []),
    )
