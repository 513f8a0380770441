"""A call of the peer's: its INVITE, our provisional and final responses, PRACK, CANCEL (RFC 3261 8.2, 9.2, 13.3)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.model.clock import NS_PER_MS
from harness.model.errors import LocalProtocolError
from harness.protocols.sip import handles, session_timer
from harness.protocols.sip.call import extra_lines
from harness.protocols.sip.compose import Headers, one_line
from harness.protocols.sip.dialog import Dialog
from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.events import AnswerReceived, Confirmed, Failed, Offered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.handles import ANSWERED, INVITING, RINGING, UP
from harness.protocols.sip.message import BadMessage, Request
from harness.protocols.sip.offers import OfferingCall
from harness.protocols.sip.repeater import Repeater
from harness.protocols.sip.status import reason_of
from harness.protocols.sip.transaction import Transaction

if TYPE_CHECKING:
    from harness.protocols.sip.timers import Timer

_RSEQ_LIMIT = 1 << 31


@dataclass(slots=True)
class _Provisional:
    """A reliable provisional response that is sent, or waits for the one before it (RFC 3262 3)."""

    status: int
    reason: str | None
    lines: str
    body: bytes
    rseq: int = 0


@dataclass(slots=True)
class _Success:
    """A 2xx that waits for a PRACK."""

    body: bytes
    lines: str
    content_type: str


class IncomingCall(OfferingCall):
    """One INVITE of the peer's and the dialog it makes; made by the user agent."""

    __slots__ = ("_accepting", "_invite", "_record_routes", "_reliable", "_repeating", "_rseq", "_trying", "_waiting")

    def __init__(
        self,
        endpoint: Endpoint,
        flow: Flow,
        request: Request,
        dialog: Dialog,
        transaction: Transaction,
        now_ns: int,
    ) -> None:
        is_secure = request.uri_text[:5].lower() == "sips:"
        user = request.uri.user or ""
        super().__init__(endpoint, flow, request.call_id, transaction.tag, contact_user=user, secure=is_secure)
        self.request = request
        self.dialog = dialog
        self.remote_body = request.body
        self.remote_user_agent = request.get("user-agent")
        self.note_peer(request)
        self._invite = transaction
        transaction.user = self
        self._record_routes = "".join([f"Record-Route: {value}\r\n" for value in request.get_all("record-route")])
        self._rseq = 0
        # The reliable provisional response that lacks its PRACK, its repetition, and those behind it.
        self._reliable: _Provisional | None = None
        self._repeating: Repeater | None = None
        self._waiting: list[_Provisional] = []
        self._accepting: _Success | None = None
        self._trying: Timer | None = None
        delay = endpoint.config.trying_delay_ms
        if delay == 0:
            endpoint.respond(transaction, 100, now_ns)
        elif delay is not None:
            self._trying = endpoint.wheel.start(now_ns + delay * NS_PER_MS, self, "trying")

    @property
    def handle(self) -> handles.Call:
        """The call as the application knows it."""
        return self

    def _must_be_unanswered(self) -> None:
        if self.state not in (INVITING, RINGING) or self._accepting is not None:
            raise LocalProtocolError(f"call {self.id} is {self.state} or being accepted; legal: {INVITING}, {RINGING}")

    # Provisional responses.

    def ring(
        self,
        now_ns: int,
        status: int = 180,
        *,
        body: bytes = b"",
        reliable: bool | None = None,
        headers: Headers = (),
        reason: str | None = None,
    ) -> None:
        """Send 101 to 199; reliably where the peer requires it, or can and we (or `reliable`) want it."""
        self._must_be_unanswered()
        if not 100 < status < 200:
            raise LocalProtocolError(f"provisional status {status}; legal: 101 to 199")
        assert self.request is not None
        self.state = RINGING
        self._stop_trying()
        lines = f"{self._record_routes}{self.capability_lines()}{extra_lines(headers)}"
        must = "100rel" in self.request.tokens("require")
        can = must or "100rel" in self.request.tokens("supported")
        wish = self.prack == "required" if reliable is None else reliable
        if body:
            self.local_body = body
        if self.prack == "off" or not (must or (wish and can)):
            self.endpoint.respond(self._invite, status, now_ns, reason=reason, lines=lines, body=body)
            return
        provisional = _Provisional(status, reason, lines, body)
        if self._reliable is not None:
            self._waiting.append(provisional)
        else:
            self._send_reliable(provisional, now_ns)

    def _send_reliable(self, provisional: _Provisional, now_ns: int) -> None:
        if not self._rseq:
            self._rseq = int(self.endpoint.unit_interval() * (_RSEQ_LIMIT - 2))
        self._rseq += 1
        provisional.rseq = self._rseq
        lines = f"{provisional.lines}Require: 100rel\r\nRSeq: {self._rseq}\r\n"
        data = self.endpoint.respond(
            self._invite, provisional.status, now_ns, reason=provisional.reason, lines=lines, body=provisional.body
        )
        self._reliable = provisional
        self._repeating = Repeater(
            self.endpoint, self._invite.flow, data, self._on_no_prack, capped=False, now_ns=now_ns
        )

    def _on_no_prack(self, now_ns: int) -> None:
        self._refuse(504, "no PRACK in 64 * T1", "timeout", now_ns)

    def _stop_reliable(self) -> None:
        if self._repeating is not None:
            self.resent += self._repeating.sent
            self._repeating.stop()
        self._reliable = self._repeating = None

    def on_method(self, dialog: Dialog, transaction: Transaction, request: Request, now_ns: int) -> None:
        """Take PRACK; the rest is the same for either direction."""
        if request.method == "PRACK":
            self._on_prack(transaction, request, now_ns)
        else:
            super().on_method(dialog, transaction, request, now_ns)

    def _on_prack(self, transaction: Transaction, request: Request, now_ns: int) -> None:
        words = (request.get("rack") or "").split()
        if len(words) != 3 or not all(word.isascii() and word.isdecimal() for word in words[:2]):
            raise BadMessage("RAck: not two numbers and a method")
        assert self.request is not None
        provisional = self._reliable
        if provisional is None or words != [str(provisional.rseq), *str(self.request.cseq).split()]:
            self.endpoint.respond(transaction, 481, now_ns)
            return
        self._stop_reliable()
        if request.body and self.request.body:
            # A new offer; ours in the 1xx was an answer (RFC 3262 5).
            self._offered = (transaction, request)
            self.endpoint.tell(Offered(now_ns, self, "PRACK", request.body))
        else:
            self.endpoint.respond(transaction, 200, now_ns)
            if request.body:
                self.remote_body = request.body
                self.endpoint.tell(AnswerReceived(now_ns, self, request.body))
        if self._accepting is not None:
            self._waiting.clear()
            accepting, self._accepting = self._accepting, None
            self._send_2xx(accepting, now_ns)
        elif self._waiting:
            self._send_reliable(self._waiting.pop(0), now_ns)

    # Final responses.

    def accept(self, body: bytes, now_ns: int, *, headers: Headers = (), content_type: str = "application/sdp") -> None:
        """Answer with 200, held back while a reliable 1xx with SDP lacks its PRACK."""
        self._must_be_unanswered()
        self._stop_trying()
        success = _Success(body, extra_lines(headers), one_line(content_type))
        if self._reliable is not None and self._reliable.body:
            self._accepting = success
        else:
            self._stop_reliable()
            self._send_2xx(success, now_ns)

    def _send_2xx(self, success: _Success, now_ns: int) -> None:
        request, endpoint = self.request, self.endpoint
        assert request is not None
        assert self.dialog is not None
        self.state = ANSWERED
        self.dialog.confirmed = True
        self.local_body = success.body or self.local_body
        lines = f"{self._record_routes}{self.capability_lines()}{success.lines}"
        if self.asked_s is not None or request.get("session-expires") is not None:
            agreed, more = session_timer.answer_as_uas(request, self.asked_s, endpoint.config.min_se_s)
            self.take_session_timer(agreed, now_ns)
            lines += more
        data = endpoint.respond(
            self._invite, 200, now_ns, lines=lines, body=success.body, content_type=success.content_type
        )
        self.repeat_until_ack(self._invite.flow, data, request.cseq.number, now_ns)

    def on_confirmed(self, request: Request, now_ns: int) -> None:
        """Take the first ACK: the call is up."""
        if self.state != ANSWERED:
            super().on_confirmed(request, now_ns)
            return
        self.state = UP
        self.remote_body = request.body or self.remote_body
        self.endpoint.tell(Confirmed(now_ns, self, request.body))

    def reject(self, status: int, now_ns: int, *, reason: str | None = None, headers: Headers = ()) -> None:
        """Refuse with 300 to 699."""
        self._must_be_unanswered()
        if not 300 <= status < 700:
            raise LocalProtocolError(f"status {status} refuses nothing; legal: 300 to 699")
        self._refuse(status, reason, "rejected", now_ns, lines=extra_lines(headers))

    def _refuse(self, status: int, reason: str | None, cause: str, now_ns: int, lines: str = "") -> None:
        self._stop_reliable()
        self.endpoint.respond(self._invite, status, now_ns, reason=reason, lines=lines)
        self.finish(Failed(now_ns, self, status, reason or reason_of(status), None, cause))

    # The end.

    def hang_up(self, now_ns: int, *, headers: Headers = ()) -> None:
        """480 before our answer, BYE after its ACK (RFC 3261 15)."""
        if self.state in (INVITING, RINGING):
            self._refuse(480, None, "rejected", now_ns, lines=extra_lines(headers))
        elif self.state == ANSWERED and self._hang_up_lines is None:
            self._hang_up_lines = extra_lines(headers)
        elif self.state == UP:
            self.bye(now_ns, extra_lines(headers))

    def cancel(self, now_ns: int) -> None:
        """Take the peer's CANCEL; it does nothing once we have answered (RFC 3261 9.2)."""
        if self.state in (INVITING, RINGING):
            self._refuse(487, None, "cancelled", now_ns)

    def on_bye(self, dialog: Dialog, request: Request, now_ns: int) -> None:
        """Take BYE; in an early dialog it works as CANCEL does (RFC 3261 15.1.2)."""
        if self.state in (INVITING, RINGING):
            self._refuse(487, None, "cancelled", now_ns)
        else:
            super().on_bye(dialog, request, now_ns)

    def _stop_trying(self) -> None:
        self.endpoint.wheel.cancel(self._trying)
        self._trying = None

    def stop_timers(self) -> None:
        """Stop all of them."""
        super().stop_timers()
        self._stop_trying()
        self._stop_reliable()

    def on_timer(self, name: str, now_ns: int) -> None:
        """Send 100 Trying when nothing else was sent so far."""
        if name == "trying":
            self._trying = None
            self.endpoint.respond(self._invite, 100, now_ns)
        else:
            super().on_timer(name, now_ns)

    def acknowledge(self, *_args: Any, **_named: Any) -> None:
        """Outgoing calls only."""
        raise LocalProtocolError(f"call {self.id} is incoming: the peer sends the ACK")
