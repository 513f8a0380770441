"""What a call asks of its transport."""

from typing import Any, Protocol

from harness.callers.setup_queue import Turn
from harness.media.clips import Clip
from harness.media.recorder import Recorder
from harness.model.records import MediaStats, SetupTimes


class CallMedia(Protocol):
    """One call's audio while it lasts, over RTP (MediaCall) or a media stream (StreamMedia)."""

    def play(self, clip: Clip, not_before_ns: int = 0) -> None:
        """Speak `clip` in place of what is being spoken, from the first tick at or after `not_before_ns` on."""

    def stats(self) -> MediaStats:
        """Return the counts so far; after the end, the last ones."""


class Caller(Protocol):
    """One call over one transport. `connect`, then events arrive where its maker said until `close`."""

    @property
    def setup(self) -> SetupTimes:
        """The set-up's times, filled in step by step, so that a call that failed shows how far it came."""

    @property
    def candidate_types(self) -> tuple[str, str] | None:
        """ICE candidate types, ours and the agent's; None where there are none."""

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the call's audio, None where nothing does."""

    @property
    def media(self) -> CallMedia | None:
        """The call's media, None before it is up."""

    @property
    def details(self) -> dict[str, Any]:
        """What a traced call (CallPlan.trace) asked, was answered and negotiated, for JSON; also after `close`."""

    async def connect(self, turn: Turn) -> int:
        """Set the call up; return the monotonic ns at which media was up. Raises SetupFailure."""

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
