"""Offers within a call: re-INVITE, UPDATE, glare, and the session timer that uses them (RFC 3261 14, 3311, 4028)."""

from typing import TYPE_CHECKING, Any

from harness.model.clock import NS_PER_MS, NS_PER_S
from harness.model.errors import LocalProtocolError
from harness.protocols.sip import compose, session_timer
from harness.protocols.sip.call import BaseCall, extra_lines
from harness.protocols.sip.compose import Headers
from harness.protocols.sip.dialog import Dialog
from harness.protocols.sip.dialog_request import DialogRequest
from harness.protocols.sip.endpoint import ALLOW_LINE, SUPPORTED_LINES, Endpoint
from harness.protocols.sip.events import AnswerReceived, Event, OfferAnswered, Offered, OfferRefused
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.handles import ENDED, ENDING, RINGING, UP
from harness.protocols.sip.message import Message, Request, Response
from harness.protocols.sip.session_timer import SessionTimer
from harness.protocols.sip.transaction import Transaction

if TYPE_CHECKING:
    from harness.protocols.sip.timers import Timer

# RFC 3261 14.1: who made the Call-ID waits 2.1 s to 4 s, the other up to 2 s, in steps of 10 ms.
_OWNER_WAITS_MS = (2100, 4000)
_OTHER_WAITS_MS = (0, 2000)
_STEP_MS = 10
# How often one offer is sent: a peer that always says 491 or 422 ends it.
_TRIES = 8
# A refresh that meets an open offer is put off by this much.
_BUSY_NS = NS_PER_S
_MOST_RETRY_AFTER_S = 10


class OfferingCall(BaseCall):
    """A call whose session can change."""

    __slots__ = ("_glare", "_offered", "_offering", "_timer", "asked_s", "peer_updates", "prack")

    def __init__(
        self,
        endpoint: Endpoint,
        flow: Flow,
        call_id: str,
        local_tag: str,
        *,
        contact_user: str,
        secure: bool,
        owner: Any = None,
    ) -> None:
        super().__init__(endpoint, flow, call_id, local_tag, contact_user=contact_user, secure=secure, owner=owner)
        # Ours that is on its way, or waits out a 491.
        self._offering: DialogRequest | None = None
        self._glare: Timer | None = None
        # The peer's that the application has to answer.
        self._offered: tuple[Transaction, Request] | None = None
        self._timer: SessionTimer | None = None
        # What we ask the session timer to be.
        self.asked_s = endpoint.config.session_expires_s
        self.prack = endpoint.config.prack
        # Whether the peer's Allow has UPDATE.
        self.peer_updates = False

    @property
    def can_offer(self) -> bool:
        """Whether no offer of either side is open."""
        return self.state == UP and self._offering is None and self._offered is None and self._answering is None

    def stop_timers(self) -> None:
        """Stop all of them."""
        super().stop_timers()
        self.endpoint.wheel.cancel(self._glare)
        self._glare = None
        if self._timer is not None:
            self._timer.stop()

    def finish(self, event: Event) -> None:
        """End the call; an offer of the peer still open gets 487 (RFC 3261 15.1.2)."""
        self._drop_offered(event.at_ns)
        if self._offering is not None and self._offering.transaction is not None:
            self.endpoint.limit(self._offering.transaction, event.at_ns)
            self._offering = None
        super().finish(event)

    def bye(self, now_ns: int, lines: str) -> None:
        """Send BYE, an open offer of the peer being refused first."""
        self._drop_offered(now_ns)
        super().bye(now_ns, lines)

    def _drop_offered(self, now_ns: int) -> None:
        if self._offered is not None:
            transaction, _request = self._offered
            self._offered = None
            self.endpoint.respond(transaction, 487, now_ns)

    def capability_lines(self) -> str:
        """Return Contact, Allow and Supported."""
        return f"{self.contact_line()}{ALLOW_LINE}{SUPPORTED_LINES[self.prack != 'off']}"

    def take_session_timer(self, agreed: session_timer.Agreement | None, now_ns: int) -> None:
        """Run the session timer by `agreed`."""
        if agreed is not None or self._timer is not None:
            self._timer = self._timer or SessionTimer(self.endpoint.wheel, self)
            self._timer.restart(agreed, now_ns)

    def note_peer(self, message: Message) -> None:
        """Keep what a message with capabilities tells of the peer."""
        allow = message.get("allow")
        if allow is not None:
            self.peer_updates = "UPDATE" in allow or "UPDATE" in message.values("allow")

    # Offers of ours.

    def reinvite(self, body: bytes, now_ns: int, *, headers: Headers = ()) -> None:
        """Offer `body` in a re-INVITE."""
        dialog = self.must(UP)
        self._must_be_free()
        self._offer(dialog, "INVITE", body, extra_lines(headers), now_ns)

    def update(self, body: bytes, now_ns: int, *, headers: Headers = ()) -> None:
        """Offer `body` in an UPDATE; b"" refreshes and offers nothing."""
        dialog = self.must(UP, RINGING)
        self._must_be_free()
        self._offer(dialog, "UPDATE", body, extra_lines(headers), now_ns)

    def _must_be_free(self) -> None:
        if self._offering is not None or self._offered is not None or self._answering is not None:
            raise LocalProtocolError(f"call {self.id} has an offer open already; see can_offer")

    def _offer(self, dialog: Dialog, method: str, body: bytes, lines: str, now_ns: int) -> DialogRequest:
        request = DialogRequest(
            self, dialog, method, body=body, extra=self.capability_lines() + self._timer_lines() + lines
        )
        self._offering = request
        request.send(now_ns)
        return request

    def _timer_lines(self) -> str:
        if self.state != UP:
            return ""
        agreed = None if self._timer is None else self._timer.agreed
        if agreed is None:
            return session_timer.request_lines(self.asked_s, self.endpoint.config.min_se_s)
        # RFC 4028 7.4: a refresh keeps the refresher.
        refresher = "uac" if agreed.we_refresh else "uas"
        return session_timer.request_lines(agreed.expires_s, self.endpoint.config.min_se_s, refresher)

    def on_offer_result(
        self, request: DialogRequest, transaction: Transaction, response: Response, now_ns: int
    ) -> None:
        """Take a final response to a re-INVITE or UPDATE; a 2xx of a re-INVITE is acknowledged as often as it comes."""
        if request.method == "INVITE" and response.status < 300:
            self._acknowledge(request, transaction)
        if request is not self._offering or self.state in (ENDING, ENDED):
            return
        if response.status < 300:
            self._offering = None
            self._on_accepted(request, response, now_ns)
        elif response.status == 491 and request.tries < _TRIES:
            self._wait_out_glare(now_ns)
        elif response.status == 422 and request.tries < _TRIES:
            least = session_timer.min_se_of(response)
            lines = session_timer.request_lines(max(least, self.asked_s or 0), least)
            request.extra = self.capability_lines() + lines
            request.send(now_ns)
        else:
            self._offering = None
            self._on_refused(request, response.status, response.reason, response, now_ns)

    def on_offer_failure(self, request: DialogRequest, status: int, reason: str, now_ns: int) -> None:
        """Hear that an offer of ours gets no response."""
        if request is self._offering:
            self._offering = None
            if self.state not in (ENDING, ENDED):
                self._on_refused(request, status, reason, None, now_ns)

    def _acknowledge(self, request: DialogRequest, transaction: Transaction) -> None:
        if not transaction.data:
            transaction.data = self.ack_of(request.dialog, request.number, request.auth_lines, b"")
        self.endpoint.outputs.append((self._way(request.dialog), transaction.data))

    def _way(self, dialog: Dialog) -> Flow:
        return dialog.way(follow_contact=self.endpoint.config.follow_contact)

    def ack_of(self, dialog: Dialog, number: int, auth_lines: str, body: bytes) -> bytes:
        """Return the ACK of a 2xx: a request of its own, with a branch of its own (RFC 3261 13.2.2.4)."""
        endpoint = self.endpoint
        via = f"{endpoint.via(self._way(dialog))}{endpoint.branch()}\r\n"
        head = dialog.head("ACK", number, via, self.id, endpoint.config.max_forwards)
        return compose.encoded(f"{head}{auth_lines}{endpoint.agent_line}", body, "application/sdp")

    def _on_accepted(self, request: DialogRequest, response: Response, now_ns: int) -> None:
        request.dialog.retarget(response)
        self.note_peer(response)
        if self.state == UP:
            asked = self._timer.agreed.expires_s if self._timer and self._timer.agreed else self.asked_s
            self.take_session_timer(session_timer.take_as_uac(response, asked), now_ns)
        if request.body:
            self.local_body = request.body
            self.remote_body = response.body or self.remote_body
        if not request.is_refresh:
            self.endpoint.tell(OfferAnswered(now_ns, self.handle, response.body, response))

    def _on_refused(
        self, request: DialogRequest, status: int, reason: str, response: Response | None, now_ns: int
    ) -> None:
        if not request.is_refresh:
            self.endpoint.tell(OfferRefused(now_ns, self.handle, status, reason, response))

    def _wait_out_glare(self, now_ns: int) -> None:
        low, high = _OWNER_WAITS_MS if self.outgoing else _OTHER_WAITS_MS
        steps = (high - low) // _STEP_MS
        wait_ms = low + _STEP_MS * round(steps * self.endpoint.unit_interval())
        self._glare = self.endpoint.wheel.start(now_ns + wait_ms * NS_PER_MS, self, "glare")

    # Offers of the peer.

    def on_method(self, dialog: Dialog, transaction: Transaction, request: Request, now_ns: int) -> None:
        """Take offers; everything else is the base's."""
        if request.method in ("INVITE", "UPDATE"):
            self._on_offer(dialog, transaction, request, now_ns)
        else:
            super().on_method(dialog, transaction, request, now_ns)

    def _on_offer(self, dialog: Dialog, transaction: Transaction, request: Request, now_ns: int) -> None:
        status, lines = self._why_not_now(dialog, request)
        if status:
            self.endpoint.respond(transaction, status, now_ns, lines=lines)
            return
        self.note_peer(request)
        self._offered = (transaction, request)
        same = bool(self.local_body) and request.body == self.remote_body
        if (request.method == "UPDATE" and not request.body) or (same and request.body):
            # A refresh: nothing changes (RFC 4028 7.4, RFC 3264 8).
            self.answer_offer(self.local_body if request.body else b"", now_ns)
            return
        if request.method == "INVITE" and self.endpoint.config.trying_delay_ms is not None:
            self.endpoint.respond(transaction, 100, now_ns)
        self.endpoint.tell(Offered(now_ns, self.handle, request.method, request.body))

    def _why_not_now(self, dialog: Dialog, request: Request) -> tuple[int, str]:
        """Return the status that refuses an offer before anyone looks at it, 0 = none, and its lines."""
        if self.state in (ENDING, ENDED):
            return 481, ""
        if self._offered is not None:
            # RFC 3261 14.2, RFC 3311 5.2: one at a time.
            return 500, f"Retry-After: {int(self.endpoint.unit_interval() * _MOST_RETRY_AFTER_S)}\r\n"
        clashes = self._answering is not None or (request.method == "INVITE" and self.state != UP)
        sending = self._offering is not None and self._glare is None
        if clashes or (sending and (request.body or request.method == "INVITE")):
            return 491, ""
        least = self.endpoint.config.min_se_s
        if dialog.confirmed and session_timer.is_too_short(request, least):
            return 422, f"Min-SE: {least}\r\n"
        return 0, ""

    def _take_offered(self) -> tuple[Transaction, Request]:
        if self._offered is None or self.state == ENDED:
            raise LocalProtocolError(f"call {self.id} ({self.state}) has no offer to answer")
        taken, self._offered = self._offered, None
        return taken

    def answer_offer(self, body: bytes, now_ns: int, *, headers: Headers = ()) -> None:
        """Accept the peer's offer; to a re-INVITE without one `body` is ours."""
        transaction, request = self._take_offered()
        assert self.dialog is not None
        lines = self.capability_lines() + extra_lines(headers)
        if self.state == UP and request.method != "PRACK":
            agreed, more = session_timer.answer_as_uas(request, self.asked_s, self.endpoint.config.min_se_s)
            self.take_session_timer(agreed, now_ns)
            lines += more
        self.dialog.retarget(request)
        if body:
            self.local_body = body
        self.remote_body = request.body or self.remote_body
        data = self.endpoint.respond(transaction, 200, now_ns, lines=lines, body=body)
        if request.method == "INVITE":
            self.repeat_until_ack(transaction.flow, data, request.cseq.number, now_ns)

    def refuse_offer(self, status: int, now_ns: int, *, reason: str | None = None, headers: Headers = ()) -> None:
        """Refuse the peer's offer; the session goes on as it was."""
        transaction, _request = self._take_offered()
        self.endpoint.respond(transaction, status, now_ns, reason=reason, lines=extra_lines(headers))

    def on_confirmed(self, request: Request, now_ns: int) -> None:
        """Take the ACK of a re-INVITE's 2xx; it carries the answer where our 2xx carried the offer."""
        if request.body:
            self.remote_body = request.body
            self.endpoint.tell(AnswerReceived(now_ns, self.handle, request.body))

    # Timers.

    def on_timer(self, name: str, now_ns: int) -> None:
        """Wait over, refresh due, or session expired."""
        if name == "glare":
            self._glare = None
            if self._offering is not None:
                self._offering.send(now_ns)
        elif name == "refresh":
            self._refresh(now_ns)
        elif name == "expire":
            self.end_with_bye("session_expired", "the session timer ran out", None, now_ns)

    def _refresh(self, now_ns: int) -> None:
        assert self._timer is not None
        if not self.can_offer or self.dialog is None:
            self._timer.postpone(now_ns + _BUSY_NS)
            return
        self._timer.expire_after_refresh(now_ns)
        method = "UPDATE" if self.peer_updates else "INVITE"
        body = b"" if method == "UPDATE" else self.local_body
        request = DialogRequest(
            self, self.dialog, method, body=body, extra=self.capability_lines() + self._timer_lines()
        )
        request.is_refresh = True
        self._offering = request
        request.send(now_ns)
