"""What the agent says of itself: /healthz by HTTP, the answer to OPTIONS by SIP."""

from typing import Any

from target_stack.edge.rtvi_channel import library_name
from target_stack.readiness import Readiness


def health_of(readiness: Readiness, *, active_calls: int, max_calls: int) -> dict[str, Any]:
    """Return the JSON object; `simulated` lists what is not real, which every report of a run repeats."""
    return {
        "status": "alive",
        "version": library_name(),
        "profile": readiness.profile,
        "ready": readiness.ready,
        "stages": readiness.description,
        "simulated": list(readiness.simulated),
        "active_calls": active_calls,
        "max_calls": max_calls,
    }
