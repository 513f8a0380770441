"""What a target says of itself that makes its words no evidence: a recogniser that is emulated hears none."""

from collections.abc import Mapping
from typing import Any

from harness.report.store import RunInfo

# As the target tells it in the list "simulated" of its health: stage, colon, words.
_STT = "stt: emulated"
NO_WORDS = "the target's STT is emulated: it hears how long an utterance is, and none of its words"


def not_heard(info: RunInfo) -> dict[str, str]:
    """Return why the transcripts of a target are none, by the target's name; "" is an only one's."""
    told: dict[str, Mapping[str, Any] | None] = {one.name: one.info for one in info.targets} or {"": info.target_info}
    return {name: NO_WORDS for name, about in told.items() if _is_emulated(about)}


def _is_emulated(about: Mapping[str, Any] | None) -> bool:
    parts = about.get("simulated") if about else None
    return isinstance(parts, list) and any(str(part).startswith(_STT) for part in parts)
