"""What a call asks of its transport."""

from typing import Protocol

from harness.callers.setup_queue import Turn
from harness.media.media_call import MediaCall
from harness.media.recorder import Recorder
from harness.model.records import SetupTimes


class Caller(Protocol):
    """One call over one transport. `connect`, then events arrive where its maker said until `close`."""

    # Filled in step by step, so that a call that failed shows how far it came.
    setup: SetupTimes
    # ICE candidate types, ours and the agent's; None where there are none.
    candidate_types: tuple[str, str] | None
    recorder: Recorder | None
    # None before the call is up.
    media: MediaCall | None

    async def connect(self, turn: Turn) -> int:
        """Set the call up; return the monotonic ns at which media was up. Raises SetupFailure."""

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
