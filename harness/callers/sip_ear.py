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
        # When the call was answered, monotonic ns.
        self._answered_at_ns: int | None = None
        self._hear_anew: Callable[[], None] = _do_nothing

    def answered(self, at_ns: int, hear_anew: Callable[[], None]) -> None:
        """Pass on what is told from now on. `hear_anew` has the media loop forget what it heard, as has been done."""
        self._answered_at_ns, self._hear_anew = at_ns, hear_anew

    def let_go(self) -> None:
        """Forget the media, which knows us."""
        self._hear_anew = _do_nothing

    def hear(self, event: CallEvent) -> None:
        """Take an event."""
        if isinstance(event, DigitSent):
            self._log.digits_sent += 1
        elif isinstance(event, AgentOnset) and self._is_early(event):
            self._on_early(event)
        elif self._answered_at_ns is not None or isinstance(event, MediaFailed):
            self._post(event)

    def _is_early(self, onset: AgentOnset) -> bool:
        return self._answered_at_ns is None or onset.decided_at_ns < self._answered_at_ns

    def _on_early(self, onset: AgentOnset) -> None:
        if self._log.early_onset_ms is None:
            self._log.early_onset_ms = self._log.since_invite_ms(onset.at_ns)
        # It was on its way up when the answer came. Should it go on, it is to be told again.
        self._hear_anew()


def _do_nothing() -> None:
    """Be what there is to do before media."""
