"""The audit trail's rows: what happened, in which call, to whose data; pseudonyms and counts, no words and no names."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

# What a deletion is about that takes all of a caller's consents, and no call.
CONSENTS = "consents"


class What(StrEnum):
    """What is recorded in the trail."""

    CALL_STARTED = "call_started"
    CALL_ENDED = "call_ended"
    # A notice's last packet left, and it could be heard.
    PLAYED = "played"
    # The call ended, or could not be heard, before that.
    NOT_PLAYED = "not_played"
    ASKED = "asked"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    UNANSWERED = "unanswered"
    # From here on this was done with the caller's voice.
    BEGAN = "began"
    # Ended because the caller does not agree, or may not be called.
    DECLINED = "declined"
    # Something is kept, until `due`.
    KEPT = "kept"
    DUE = "due"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class TrailRow:
    """One entry. `caller` and `call` are pseudonyms. `due`: for KEPT and DUE, by when it is to be deleted."""

    at: datetime
    what: What
    caller: str = ""
    call: str = ""
    region: str = ""
    direction: str = ""
    # Which notice or activity; several joined by a comma.
    about: str = ""
    due: datetime | None = None
    # Why, how, how many.
    detail: dict[str, str | int] = field(default_factory=dict)


def to_ms(at: datetime) -> int:
    """Return milliseconds since 1970; `at` must know its zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return round(at.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Return the time in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def detail_text(detail: dict[str, str | int]) -> str:
    """Return `detail` as it is stored."""
    return json.dumps(detail, sort_keys=True)
