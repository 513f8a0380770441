"""What is noted of one SIP call while it lasts, event by event; `facts` is what its record keeps."""

from dataclasses import dataclass, field

from harness.model.clock import ms_between
from harness.model.errors import RemoteProtocolError
from harness.model.sip_facts import Bye, Provisional, SipFacts, SipRegistration
from harness.protocols.sip.events import Answered, Ended, Failed
from harness.protocols.sip.events import Provisional as ProvisionalArrived
from harness.protocols.sip.handles import Call
from harness.protocols.sip.message import Request, Response

# What our user agents put into Max-Forwards, and nearly all others: RFC 3261 8.1.1.6.
_FIRST_MAX_FORWARDS = 70
# A phone that rings on and on says so again and again.
_MOST_PROVISIONALS = 32
_BOTH = "hung up by both sides"


@dataclass(slots=True)
class SipLog:
    """Times are monotonic ns; those of answers are when they reached this host."""

    transport: str
    media: bool = True
    call_id: str = ""
    invited_at_ns: int | None = None
    # The last 1xx to the INVITE under way: another's says nothing of who that one went to.
    last_provisional: int | None = None
    status: int | None = None
    reason: str = ""
    agent: str = ""
    challenges: int = 0
    redirects: int = 0
    resent: int = 0
    retry_after_s: int | None = None
    held_back: bool = False
    provisionals: list[Provisional] = field(default_factory=list)
    request_delay_ms: float | None = None
    answer_delay_ms: float | None = None
    answered_at_ns: int | None = None
    session_ms: float | None = None
    bye: Bye = Bye.NONE
    bye_at_ns: int | None = None
    disconnect_delay_ms: float | None = None
    early_media: bool = False
    early_onset_ms: float | None = None
    changes: int = 0
    digits_sent: int = 0
    holds: int = 0
    holds_refused: int = 0
    hops: int | None = None
    registrations: tuple[SipRegistration, ...] = ()

    def invited(self, call_id: str, now_ns: int) -> None:
        """Note that an INVITE left; a later one is part of the same attempt, and what it comes to is what counts.

        It follows a redirect, or an answer whose media could not be told from another call's.
        """
        self.call_id = call_id
        self.last_provisional = None
        self.status, self.reason, self.retry_after_s = None, "", None
        self.answered_at_ns = self.answer_delay_ms = self.session_ms = None
        self.bye, self.bye_at_ns, self.disconnect_delay_ms = Bye.NONE, None, None
        if self.invited_at_ns is None:
            self.invited_at_ns = now_ns

    def since_invite_ms(self, at_ns: int) -> float | None:
        """Return how long after the first INVITE that was."""
        return None if self.invited_at_ns is None else ms_between(self.invited_at_ns, at_ns)

    def provisional(self, event: ProvisionalArrived) -> None:
        """Note a 1xx."""
        self.last_provisional = event.status
        at_ms = self.since_invite_ms(event.at_ns)
        self._name_agent(event.response)
        if at_ms is not None and len(self.provisionals) < _MOST_PROVISIONALS:
            self.provisionals.append(Provisional(event.status, at_ms))
        if event.status != 100:
            self._first_sign(at_ms)

    def answered(self, event: Answered) -> None:
        """Note a 2xx."""
        self.status, self.reason = event.response.status, event.response.reason
        self.answered_at_ns = event.at_ns
        self.answer_delay_ms = self.since_invite_ms(event.at_ns)
        self._first_sign(self.answer_delay_ms)
        self._name_agent(event.response)
        self._count(event.call)

    def failed(self, event: Failed) -> None:
        """Note that the INVITE came to nothing; what we ended ourselves, or never came, is no final response."""
        self._count(event.call)
        if event.response is None:
            return
        self._name_agent(event.response)
        if event.cause == "cancelled":
            # A 487 to our own CANCEL says nothing of the agent.
            return
        self.status, self.reason = event.status, event.reason
        self.retry_after_s = event.retry_after_s
        if event.status // 100 != 3:
            self._first_sign(self.since_invite_ms(event.at_ns))

    def hung_up(self, now_ns: int) -> None:
        """Note that our BYE left."""
        if self.answered_at_ns is not None and self.bye_at_ns is None:
            self.bye_at_ns = now_ns
            self.session_ms = ms_between(self.answered_at_ns, now_ns)

    def ended(self, event: Ended) -> None:
        """Note that the session is over, by whatever."""
        self._count(event.call)
        if self.session_ms is None and self.answered_at_ns is not None:
            self.session_ms = ms_between(self.answered_at_ns, event.at_ns)
        if isinstance(event.message, Request):
            self._count_hops(event.message)
        if event.cause == "remote" or event.reason == _BOTH:
            self.bye = Bye.RECEIVED
        elif event.cause == "local" and self.bye_at_ns is not None:
            self._bye_answered(event, self.bye_at_ns)

    def gave_up(self, now_ns: int, call: Call | None) -> None:
        """Note that nobody answered our BYE for as long as we wait."""
        if call is not None:
            self._count(call)
        if self.bye_at_ns is not None and self.bye is Bye.NONE:
            self.bye = Bye.UNANSWERED
            self.disconnect_delay_ms = ms_between(self.bye_at_ns, now_ns)

    def _bye_answered(self, event: Ended, sent_at_ns: int) -> None:
        self.disconnect_delay_ms = ms_between(sent_at_ns, event.at_ns)
        response = event.message
        if not isinstance(response, Response):
            self.bye = Bye.UNANSWERED
        else:
            self.bye = Bye.ANSWERED if response.status // 100 == 2 else Bye.REFUSED

    def _first_sign(self, at_ms: float | None) -> None:
        if self.request_delay_ms is None:
            self.request_delay_ms = at_ms

    def _name_agent(self, response: Response) -> None:
        self.agent = response.get("server") or response.get("user-agent") or self.agent

    def _count(self, call: Call) -> None:
        self.resent += call.resent
        self.challenges += call.challenges
        # A call after a redirect counts for itself; one that goes on is counted once more at its end.
        call.resent = call.challenges = 0

    def _count_hops(self, request: Request) -> None:
        try:
            left = request.max_forwards
        except RemoteProtocolError:
            return
        if left is not None and 0 <= left <= _FIRST_MAX_FORWARDS:
            self.hops = _FIRST_MAX_FORWARDS - left

    def facts(self) -> SipFacts:
        """Return the record."""
        return SipFacts(
            transport=self.transport,
            call_id=self.call_id,
            status=self.status,
            reason=self.reason,
            agent=self.agent,
            challenges=self.challenges,
            redirects=self.redirects,
            retransmissions=self.resent,
            retry_after_s=self.retry_after_s,
            held_back=self.held_back,
            provisionals=tuple(self.provisionals),
            request_delay_ms=self.request_delay_ms,
            answer_delay_ms=self.answer_delay_ms,
            session_ms=self.session_ms,
            bye=self.bye,
            disconnect_delay_ms=self.disconnect_delay_ms,
            early_media=self.early_media,
            early_onset_ms=self.early_onset_ms,
            changes=self.changes,
            digits_sent=self.digits_sent,
            holds=self.holds,
            holds_refused=self.holds_refused,
            hops=self.hops,
            registrations=self.registrations,
            media=self.media,
        )
