"""What an operator looks at first, as Prometheus text: calls and room for them, TTFB, rate limits. Labels are few.

Queue depths, batch sizes, failures, consent, disclosure and cost are told where they are counted; docs/target-stack.md
lists all families.
"""

from collections.abc import Mapping

from target_stack.routing.routing_stats import RoutingStats
from target_stack.telemetry.exposition import by, counter, durations, gauge
from target_stack.telemetry.stats import Stats

# As the router names the ending of a request that its provider had no room for.
_LIMITED = "limited"


def render_service(stats: Stats, calls: Mapping[str, int], capacity: Mapping[str, int], routing: RoutingStats) -> str:
    """Return the text. `calls` and `capacity`: by edge: webrtc, stream, sip."""
    limited = [
        ({"stage": stage, "provider": provider}, count)
        for (stage, provider, ending), count in sorted(routing.endings.items())
        if ending == _LIMITED
    ]
    return "".join(
        (
            gauge("calls", "Calls now, by how they came.", by("edge", calls)),
            gauge("call_capacity", "Calls taken at once.", by("edge", capacity)),
            durations(
                "ttfb", "Last voiced audio in to first audible packet out, as the agent sees it.", "", {"": stats.ttfb}
            ),
            counter("rate_limited", "Requests a provider had no room for (429, full queue).", limited),
        )
    )
