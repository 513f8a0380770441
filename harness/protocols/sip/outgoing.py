"""A call of ours: INVITE and its answers, forks, PRACK, CANCEL and its race with the 2xx (RFC 3261 8.1, 9.1, 13.2)."""

from typing import TYPE_CHECKING, Any

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import compose, handles, session_timer
from harness.protocols.sip.call import extra_lines
from harness.protocols.sip.compose import Headers
from harness.protocols.sip.dialog import Dialog, dialog_of_response, routes_of
from harness.protocols.sip.dialog_request import DialogRequest, take_challenge
from harness.protocols.sip.digest import Attempts, DigestClient
from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.events import Answered, Challenged, Ended, Event, Failed, Provisional
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.handles import ANSWERED, ENDED, ENDING, INVITING, RINGING, UP
from harness.protocols.sip.message import Request, Response
from harness.protocols.sip.offers import OfferingCall
from harness.protocols.sip.transaction import CALLING, PROCEEDING, Transaction

if TYPE_CHECKING:
    from harness.protocols.sip.timers import Timer

# How often one INVITE is sent with other credentials or another session interval.
_TRIES = 8


class OutgoingCall(OfferingCall):
    """One INVITE of ours and the dialog it makes."""

    __slots__ = (
        "_attempts", "_auth_lines", "_body", "_cancel_lines", "_cancel_timer", "_content_type", "_cseq", "_forks",
        "_from", "_held", "_invite", "_lines", "_other_acks", "_routes", "_to", "_was_up", "uri",
    )  # fmt: skip

    outgoing = True

    def __init__(
        self,
        endpoint: Endpoint,
        flow: Flow,
        uri: str,
        *,
        from_: str,
        to: str,
        body: bytes,
        content_type: str,
        lines: str,
        routes: tuple[str, ...],
        auth: DigestClient | None,
        call_id: str,
        contact_user: str,
        owner: Any,
    ) -> None:
        is_secure = uri[:5].lower() == "sips:"
        super().__init__(
            endpoint, flow, call_id, endpoint.token(), contact_user=contact_user, secure=is_secure, owner=owner
        )
        self.uri = uri
        self.auth = auth
        self._from = f"{from_};tag={self.local_tag}"
        self._to = to
        self._body = body
        self._content_type = content_type
        self._lines = lines
        self._routes = "".join([f"Route: {route}\r\n" for route in routes])
        self._cseq = 0
        self._auth_lines = ""
        self._attempts = Attempts() if auth is not None else None
        self._invite: Transaction | None = None
        # Early dialogs besides the first, by the peer's tag; and ACKs of 2xx that were not taken.
        self._forks: dict[str, Dialog] | None = None
        self._other_acks: dict[str, bytes] | None = None
        # Header lines of a CANCEL that is wanted or sent; None = neither.
        self._cancel_lines: str | None = None
        self._cancel_timer: Timer | None = None
        # A reliable provisional response with an offer, whose PRACK needs our answer.
        self._held: tuple[Dialog, str] | None = None
        self._was_up = False

    @property
    def handle(self) -> handles.Call:
        """The call as the application knows it."""
        return self

    # INVITE.

    def start(self, now_ns: int) -> None:
        """Send INVITE with the next CSeq."""
        endpoint = self.endpoint
        self._cseq += 1
        branch = endpoint.branch()
        if self.auth is not None:
            self._auth_lines = self.auth.header_lines("INVITE", self.uri, self._body, self._attempts)
        require = "Require: 100rel\r\n" if self.prack == "required" else ""
        timer = session_timer.request_lines(self.asked_s, endpoint.config.min_se_s) if self.asked_s else ""
        head = (
            f"INVITE {self.uri} SIP/2.0\r\n{endpoint.via(self.flow)}{branch}\r\n{self._routes}"
            f"Max-Forwards: {endpoint.config.max_forwards}\r\nFrom: {self._from}\r\nTo: {self._to}\r\n"
            f"Call-ID: {self.id}\r\nCSeq: {self._cseq} INVITE\r\n{self.capability_lines()}{require}{timer}"
            f"{self._auth_lines}{endpoint.agent_line}{self._lines}"
        )
        self.last_request = compose.encoded(head, self._body, self._content_type)
        self._invite = endpoint.send_request(branch, "INVITE", self.flow, self.last_request, self, now_ns)

    def on_response(self, transaction: Transaction, response: Response, now_ns: int) -> None:
        """Take a response to INVITE; those of an INVITE that was sent again since count no more."""
        if 200 <= response.status < 300:
            self._on_success(transaction, response, now_ns)
        elif transaction is self._invite and self.state != ENDED:
            if response.status < 200:
                self._on_provisional(response, now_ns)
            else:
                self._on_refusal(response, now_ns)

    def on_failure(self, transaction: Transaction, status: int, reason: str, now_ns: int) -> None:
        """Hear of timer B, or of a transport that failed."""
        if transaction is self._invite and self.state != ENDED:
            cause = "timeout" if status == 408 else "transport"
            self.finish(Failed(now_ns, self, status, reason, None, cause))

    def _on_provisional(self, response: Response, now_ns: int) -> None:
        if self._cancel_lines is not None and self._cancel_timer is None:
            self._send_cancel(now_ns)
        tag, reliable = response.to.tag, False
        if response.status > 100 and tag is not None:
            dialog = self._early_dialog(tag, response)
            self.note_peer(response)
            reliable = (
                self.prack != "off" and response.get("rseq") is not None and "100rel" in response.tokens("require")
            )
            if reliable and not self._take_reliable(dialog, response, now_ns):
                self.endpoint.counts.repeated += 1
                return
        if self.state == INVITING and response.status > 100:
            self.state = RINGING
        if self.state != ENDING:
            self.endpoint.tell(Provisional(now_ns, self, response, response.status, response.body, reliable))

    def _early_dialog(self, tag: str, response: Response) -> Dialog:
        found = self.dialog_with(tag)
        if found is not None:
            found.retarget(response)
            return found
        dialog = dialog_of_response(response, self.flow, self._from, self.uri)
        dialog.local_cseq = self._cseq
        if self.dialog is None:
            self.dialog = dialog
        else:
            self._forks = self._forks or {}
            self._forks[tag] = dialog
        return dialog

    def dialog_with(self, remote_tag: str | None) -> Dialog | None:
        """Return the dialog with the fork of that tag."""
        found = super().dialog_with(remote_tag)
        if found is None and self._forks is not None and remote_tag is not None:
            return self._forks.get(remote_tag)
        return found

    def _take_reliable(self, dialog: Dialog, response: Response, now_ns: int) -> bool:
        """Acknowledge a reliable 1xx (RFC 3262 4); False when it came before, or before its turn."""
        rseq = response.number("rseq") or 0
        if dialog.rseq and rseq != dialog.rseq + 1:
            return False
        dialog.rseq = rseq
        rack = f"RAck: {rseq} {response.cseq}\r\n"
        if response.body and not self._body and self.remote_body == b"":
            self._held = (dialog, rack)
            self.remote_body = response.body
        else:
            DialogRequest(self, dialog, "PRACK", extra=rack).send(now_ns)
        return True

    def _on_success(self, transaction: Transaction, response: Response, now_ns: int) -> None:
        dialog, tag = self.dialog, response.to.tag
        if dialog is not None and dialog.confirmed and dialog.remote_tag == tag:
            # It comes again: the ACK was lost.
            self.endpoint.counts.repeated += 1
            if transaction.data:
                self._output(dialog, transaction.data)
            return
        if self.state == ENDED or (dialog is not None and dialog.confirmed):
            self._drop_fork(tag or "", response, now_ns)
            return
        self._confirm(self._early_dialog(tag or "", response), response)
        self._forks = None
        if self.state == ENDING:
            # It crossed our CANCEL (RFC 3261 9.1).
            self._send_ack(transaction, b"")
            self.bye(now_ns, self._cancel_lines or "")
            return
        self._was_up = True
        self.remote_body = response.body or self.remote_body
        self.local_body = self._body
        if response.body and not self._body:
            self.state = ANSWERED
        else:
            self._send_ack(transaction, b"")
            self.state = UP
        self._start_session(response, now_ns)
        self.endpoint.tell(Answered(now_ns, self, response, response.body))

    def _confirm(self, dialog: Dialog, response: Response) -> None:
        self.dialog = dialog
        dialog.confirmed = True
        dialog.retarget(response)
        dialog.set_routes(routes_of(response)[::-1])
        self.note_peer(response)
        self.remote_user_agent = response.get("server") or response.get("user-agent")

    def _start_session(self, response: Response, now_ns: int) -> None:
        if self.asked_s is not None or response.get("session-expires") is not None:
            self.take_session_timer(session_timer.take_as_uac(response, self.asked_s), now_ns)

    def _send_ack(self, transaction: Transaction, body: bytes) -> None:
        assert self.dialog is not None
        transaction.data = self.ack_of(self.dialog, self._cseq, self._auth_lines, body)
        self._output(self.dialog, transaction.data)

    def _output(self, dialog: Dialog, data: bytes) -> None:
        way = dialog.way(follow_contact=self.endpoint.config.follow_contact)
        self.endpoint.outputs.append((way, data))

    def _drop_fork(self, tag: str, response: Response, now_ns: int) -> None:
        """Acknowledge the 2xx of another fork and hang it up (RFC 3261 13.2.2.4)."""
        self._other_acks = self._other_acks or {}
        dialog = dialog_of_response(response, self.flow, self._from, self.uri)
        dialog.local_cseq = self._cseq
        ack, is_new = self._other_acks.get(tag, b""), tag not in self._other_acks
        if is_new:
            ack = self._other_acks[tag] = self.ack_of(dialog, self._cseq, self._auth_lines, b"")
        self._output(dialog, ack)
        if is_new:
            self.endpoint.counts.forks_dropped += 1
            DialogRequest(self, dialog, "BYE").send(now_ns)

    def _on_refusal(self, response: Response, now_ns: int) -> None:
        status, cancelled = response.status, self._cancel_lines is not None
        reason, cause = response.reason, "cancelled" if cancelled else "response"
        if status in (401, 407) and self.auth is not None and self._attempts is not None and not cancelled:
            why_not = take_challenge(self.auth, self._attempts, self.endpoint, response)
            if why_not is None:
                self.challenges += 1
                self._try_again(now_ns)
                self.endpoint.tell(Challenged(now_ns, self, response, status))
                return
            reason, cause = why_not, "auth"
        elif status == 422 and not cancelled and self._cseq < _TRIES:
            least = session_timer.min_se_of(response)
            if least > (self.asked_s or 0):
                self.asked_s = least
                self._lines += f"Min-SE: {least}\r\n"
                self._try_again(now_ns)
                return
        self.finish(Failed(now_ns, self, status, reason, response, cause))

    def _try_again(self, now_ns: int) -> None:
        # Early dialogs of the refused INVITE are gone (RFC 3261 8.1.3.5, 12.3).
        self.dialog = self._forks = None
        self.state = INVITING
        self.start(now_ns)

    def acknowledge(self, body: bytes, now_ns: int) -> None:
        """Answer the peer's offer: in the PRACK of the 1xx that carried it, or in the ACK."""
        self.local_body = body
        if self._held is not None:
            (dialog, rack), self._held = self._held, None
            DialogRequest(self, dialog, "PRACK", extra=rack, body=body).send(now_ns)
            return
        self.must(ANSWERED)
        assert self._invite is not None
        self._send_ack(self._invite, body)
        self.state = UP

    # The end.

    def hang_up(self, now_ns: int, *, headers: Headers = ()) -> None:
        """CANCEL before the answer, BYE after it."""
        if self.state in (ENDING, ENDED):
            return
        lines = extra_lines(headers)
        if self.state == ANSWERED and self._invite is not None:
            self._send_ack(self._invite, b"")
        if self.state in (UP, ANSWERED):
            self.bye(now_ns, lines)
            return
        self.state = ENDING
        self._cancel_lines = lines
        # Not before a provisional response: it might overtake the INVITE (RFC 3261 9.1).
        if self._invite is not None and self._invite.state == PROCEEDING:
            self._send_cancel(now_ns)

    def _send_cancel(self, now_ns: int) -> None:
        assert self._invite is not None
        endpoint = self.endpoint
        data = compose.cancel_of(self.last_request, self._cancel_lines or "")
        branch = self._invite.key.removesuffix("INVITE")
        endpoint.send_request(branch, "CANCEL", self._invite.flow, data, None, now_ns)
        self._cancel_timer = endpoint.wheel.start(now_ns + endpoint.times.give_up_ns, self, "cancel")

    def on_timer(self, name: str, now_ns: int) -> None:
        """Give up a cancelled INVITE that got no final response in 64 * T1 (RFC 3261 9.1)."""
        if name == "cancel":
            self.finish(self.hung_up("cancelled; no final response in 64 * T1", None, now_ns))
        else:
            super().on_timer(name, now_ns)

    def hung_up(self, reason: str, response: Response | None, now_ns: int) -> Event:
        """Return how it ended: one that crossed our CANCEL was never up."""
        if self._was_up:
            return Ended(now_ns, self, "local", reason, response)
        return Failed(now_ns, self, 487, reason, None, "cancelled")

    def on_bye(self, dialog: Dialog, request: Request, now_ns: int) -> None:
        """Take BYE; one before any 2xx came ends an INVITE whose 2xx was lost (RFC 3261 15)."""
        if dialog is self.dialog and not dialog.confirmed:
            self.finish(Failed(now_ns, self, 487, "hung up by the peer before an answer came", None, "cancelled"))
        elif dialog is self.dialog:
            super().on_bye(dialog, request, now_ns)

    def finish(self, event: Event) -> None:
        """End the call; an INVITE that still waits for its final response is dropped."""
        if self._invite is not None and self._invite.state in (CALLING, PROCEEDING):
            self.endpoint.kill(self._invite)
        super().finish(event)

    def stop_timers(self) -> None:
        """Stop all of them."""
        super().stop_timers()
        self.endpoint.wheel.cancel(self._cancel_timer)

    def must(self, *states: str) -> Dialog:
        """Return the dialog; before an answer only where one of ours or theirs was exchanged reliably."""
        dialog = super().must(*states)
        if self.state == RINGING and not dialog.rseq:
            raise LocalProtocolError(f"call {self.id}: UPDATE before a reliable provisional response (RFC 3311 5.1)")
        return dialog

    # Verbs of the other direction.

    def ring(self, *_args: Any, **_named: Any) -> None:
        """Incoming calls only."""
        raise LocalProtocolError(f"call {self.id} is outgoing: the peer rings")

    def accept(self, *_args: Any, **_named: Any) -> None:
        """Incoming calls only."""
        raise LocalProtocolError(f"call {self.id} is outgoing: the peer accepts")

    def reject(self, *_args: Any, **_named: Any) -> None:
        """Incoming calls only."""
        raise LocalProtocolError(f"call {self.id} is outgoing: the peer rejects")
