"""What the media loop tells of a SIP call: early media until it is answered, the conversation's matter from then on."""

from collections.abc import Callable

from harness.callers.exchange import CallEvent
from harness.callers.sip_log import SipLog
from harness.media.events import DigitSent, MediaFailed
from harness.media.onset import AgentOnset


class SipEar:
    """One call's. It knows nothing of the caller, so that both go with their last reference."""

    def __init__(self, log: SipLog, post: Callable[[CallEvent], None]) -> None:
        self._log = log
        self._post = post
        self.is_connected = False

    def hear(self, event: CallEvent) -> None:
        """Take an event."""
        if isinstance(event, DigitSent):
            self._log.digits_sent += 1
        elif self.is_connected or isinstance(event, MediaFailed):
            self._post(event)
        elif isinstance(event, AgentOnset) and self._log.early_onset_ms is None:
            self._log.early_onset_ms = self._log.since_invite_ms(event.at_ns)
