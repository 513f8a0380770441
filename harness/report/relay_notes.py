"""By which ways WebRTC calls went, and what a relay does to their times."""

from collections import Counter
from collections.abc import Sequence

from harness.model.records import CallRecord

_PLAIN = ("host", "host")


def notes_of_relays(calls: Sequence[CallRecord]) -> list[str]:
    """Return a sentence on the ways, and one on the times of calls relayed over TCP or TLS; [] for direct calls."""
    return [*_ways(calls), *_times(calls)]


def _ways(calls: Sequence[CallRecord]) -> list[str]:
    ways = Counter(call.candidate_types for call in calls if call.candidate_types is not None)
    if not ways.keys() - {_PLAIN}:
        return []
    said = ", ".join(f"{count} {ours} to {theirs}" for (ours, theirs), count in ways.most_common())
    return [f"ICE candidates of the calls, ours and the agent's: {said}."]


def _times(calls: Sequence[CallRecord]) -> list[str]:
    relays = [call.relay for call in calls if call.relay is not None]
    means = [relay.bridge_mean_ms for relay in relays if relay.bridge_mean_ms is not None]
    if not means:
        return []
    longest = max(relay.bridge_max_ms or 0.0 for relay in relays)
    dropped = sum(relay.bridge_dropped for relay in relays)
    lost = f" It could not pass on {dropped} packets: they are missing by our fault." if dropped else ""
    mean = sum(means) / len(means)
    return [
        (
            f"{len(means)} calls were relayed over TCP or TLS: the agent's audio is timed by the kernel, but the "
            f"caller's packets left a mean of {mean:.1f} ms (at most {longest:.1f} ms) after the time they are given, "
            f"by way of a bridge of ours. The TTFB of these calls is too long by about that.{lost}"
        )
    ]
