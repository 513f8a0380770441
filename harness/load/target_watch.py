"""How many calls in a row found nobody at the target, from their records as the engine writes them."""

from collections.abc import Mapping
from typing import Any

from harness.model.records import Cause, Outcome

# An address called without signalling: media is all that can answer there.
_BARE_SCHEME = "rtp://"


class TargetWatch:
    """Counts calls that found nobody, from the last one that found somebody on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_bare = url.lower().startswith(_BARE_SCHEME)
        self.unreachable = 0

    def see(self, row: Mapping[str, Any]) -> bool:
        """Take one CallRecord as JSON; return whether it found nobody."""
        is_unanswered = self._found_nobody(row)
        if is_unanswered:
            self.unreachable += 1
        elif row["connected_at_ns"] is not None or row["outcome"] == Outcome.FAILED:
            self.unreachable = 0
        return is_unanswered

    def _found_nobody(self, row: Mapping[str, Any]) -> bool:
        if row["outcome"] == Outcome.FAILED:
            return bool(row["cause"] == Cause.SIGNALLING_UNREACHABLE)
        media = row["media"]
        # What our own impairments dropped did come.
        came = media["packets_received"] + media["impaired_lost_incoming"]
        return self._is_bare and row["outcome"] == Outcome.DROPPED and not came
