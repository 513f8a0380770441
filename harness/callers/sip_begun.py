"""A SIP call that was begun without a caller (harness/callers/plain), as a caller takes it over."""

from dataclasses import dataclass, field
from typing import Protocol

from harness.callers.sip_log import SipLog
from harness.protocols.sip.events import Answered, Event
from harness.protocols.sip.handles import Call


class Taker(Protocol):
    """Who takes it over."""

    def on_sip(self, event: Event) -> None:
        """Take an event."""


@dataclass(slots=True)
class Begun:
    """A call as it stands when a caller takes it over; until then it keeps what the user agent tells of it."""

    call: Call
    started_at_ns: int
    invited_at_ns: int
    # Its BYE left then; None = it has not.
    left_at_ns: int | None
    # Its milestone has been told.
    is_connected_told: bool
    events: list[Event] = field(default_factory=list)

    def on_sip(self, event: Event) -> None:
        """Keep what happens."""
        self.events.append(event)

    def go_on(self, owner: Taker, log: SipLog) -> None:
        """Tell `owner` all there was, and note in its log what it would have done."""
        self.call.owner = owner
        log.invited(self.call.id, self.invited_at_ns)
        for event in self.events:
            owner.on_sip(event)
            if isinstance(event, Answered) and self.left_at_ns is not None:
                log.hung_up(self.left_at_ns)
