"""What calls of both directions share below offers: their dialog, BYE, INFO, the 2xx and its ACK, the end."""

from typing import TYPE_CHECKING, Any

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import compose, handles
from harness.protocols.sip.compose import Headers
from harness.protocols.sip.config import EXTENSIONS
from harness.protocols.sip.dialog import Dialog
from harness.protocols.sip.dialog_request import DialogRequest
from harness.protocols.sip.endpoint import ALLOW_LINE, Endpoint, is_same_way
from harness.protocols.sip.events import Ended, Event, InfoReceived, RequestAnswered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.handles import ENDED, ENDING, UP
from harness.protocols.sip.message import BadMessage, Message, Request, Response
from harness.protocols.sip.repeater import Repeater
from harness.protocols.sip.transaction import Transaction

if TYPE_CHECKING:
    from harness.protocols.sip.digest import DigestClient


class BaseCall:
    """A dialog begun by an INVITE; the subclasses know which side began it."""

    __slots__ = (
        "__weakref__",
        "_ack_number",
        "_answering",
        "_hang_up_lines",
        "auth",
        "challenges",
        "contact_user",
        "dialog",
        "endpoint",
        "flow",
        "id",
        "last_request",
        "local_body",
        "local_tag",
        "owner",
        "remote_body",
        "remote_user_agent",
        "request",
        "resent",
        "secure",
        "state",
    )  # fmt: skip

    outgoing = False

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
        self.endpoint = endpoint
        self.flow = flow
        self.id = call_id
        self.owner = owner
        self.contact_user = contact_user
        self.secure = secure
        self.state = handles.INVITING
        self.local_tag = local_tag
        self.dialog: Dialog | None = None
        self.auth: DigestClient | None = None
        self.request: Request | None = None
        self.last_request = b""
        self.remote_user_agent: str | None = None
        self.resent = 0
        self.challenges = 0
        # The SDP in force, each side's.
        self.local_body = b""
        self.remote_body = b""
        # A 2xx of ours that lacks its ACK, and that ACK's CSeq.
        self._answering: Repeater | None = None
        self._ack_number = 0
        # Header lines of a BYE that must wait for the ACK; None = nobody hung up.
        self._hang_up_lines: str | None = None
        endpoint.calls[self.local_tag] = self

    @property
    def remote_tag(self) -> str | None:
        """The peer's tag, None before any response had one."""
        return None if self.dialog is None else self.dialog.remote_tag

    @property
    def remote_target(self) -> str:
        """The peer's Contact as a URI, "" before there is one."""
        return "" if self.dialog is None else self.dialog.target

    @property
    def handle(self) -> handles.Call:
        """The call as the application knows it."""
        raise NotImplementedError

    def contact_line(self) -> str:
        """Return our Contact."""
        return self.endpoint.contact(self.flow, self.contact_user, secure=self.secure)

    def must(self, *states: str) -> Dialog:
        """Return the dialog; LocalProtocolError unless the call is in one of `states`."""
        if self.state not in states or self.dialog is None:
            raise LocalProtocolError(f"call {self.id} is {self.state}; legal: {', '.join(states)}")
        return self.dialog

    # The end.

    def finish(self, event: Event) -> None:
        """End the call with `event`; nothing is told of it afterwards."""
        if self.state == ENDED:
            return
        self.state = ENDED
        self.stop_timers()
        self.endpoint.calls.pop(self.local_tag, None)
        self.local_body = self.remote_body = b""
        self.endpoint.tell(event)

    def stop_timers(self) -> None:
        """Stop what runs for the call; transactions end by their own timers."""
        if self._answering is not None:
            self._answering.stop()
            self._answering = None

    def bye(self, now_ns: int, lines: str) -> None:
        """Send BYE; the call ends with its answer."""
        assert self.dialog is not None
        self.state = ENDING
        self.stop_timers()
        DialogRequest(self, self.dialog, "BYE", extra=lines).send(now_ns)

    def end_with_bye(self, cause: str, reason: str, message: Message | None, now_ns: int) -> None:
        """End the call at once for a reason of our own; the BYE goes its way without it."""
        if self.state != ENDED and self.dialog is not None:
            self.bye(now_ns, "")
            self.finish(Ended(now_ns, self.handle, cause, reason, message))

    # Requests of ours.

    def info(self, body: bytes, content_type: str, now_ns: int) -> DialogRequest:
        """Send an INFO; ends with RequestAnswered."""
        request = DialogRequest(self, self.must(UP), "INFO", body=body, content_type=compose.one_line(content_type))
        request.send(now_ns)
        return request

    def on_result(self, request: DialogRequest, transaction: Transaction, response: Response, now_ns: int) -> None:
        """Take a response to a request within the dialog."""
        if response.status < 200:
            return
        if request.method == "BYE":
            # The BYE of a second fork ends that fork only.
            if request.dialog is self.dialog:
                self.finish(self.hung_up("hung up", response, now_ns))
            return
        if request.method == "INFO":
            cause = "auth" if response.status in (401, 407) else "response"
            self.endpoint.tell(RequestAnswered(now_ns, request, response.status, response.reason, response, cause))
        else:
            self.on_offer_result(request, transaction, response, now_ns)
        # RFC 3261 12.2.1.2, RFC 5057: the peer does not know the dialog, or is gone.
        if response.status in (408, 481) and request.method != "PRACK" and self.state == UP:
            self.end_with_bye("gone", f"{request.method}: {response.status} {response.reason}", response, now_ns)

    def on_no_result(self, request: DialogRequest, status: int, reason: str, now_ns: int) -> None:
        """Hear that a request within the dialog gets no response: 408 or 503 of our own making."""
        if request.method == "BYE":
            if request.dialog is self.dialog:
                self.finish(self.hung_up(reason, None, now_ns))
            return
        if request.method == "INFO":
            cause = "timeout" if status == 408 else "transport"
            self.endpoint.tell(RequestAnswered(now_ns, request, status, reason, None, cause))
        else:
            self.on_offer_failure(request, status, reason, now_ns)
        if status == 408 and request.method != "PRACK" and self.state == UP:
            self.end_with_bye("gone", reason, None, now_ns)

    def hung_up(self, reason: str, response: Response | None, now_ns: int) -> Event:
        """Return how a call ends whose BYE was ours."""
        return Ended(now_ns, self.handle, "local", reason, response)

    # Requests of the peer.

    def on_request(self, transaction: Transaction, request: Request, now_ns: int) -> None:
        """Take a new request of one of the call's dialogs: check its order, then do what its method says."""
        dialog = self.dialog_with(request.from_.tag)
        if dialog is None:
            self.endpoint.respond(transaction, 481, now_ns)
            return
        if dialog.remote_cseq is not None and request.cseq.number < dialog.remote_cseq:
            # RFC 3261 12.2.2.
            self.endpoint.respond(transaction, 500, now_ns, reason="CSeq out of order")
            return
        dialog.remote_cseq = request.cseq.number
        unknown = unknown_extensions(request)
        if unknown:
            self.endpoint.respond(transaction, 420, now_ns, lines=f"Unsupported: {unknown}\r\n")
            return
        transaction.user = self
        try:
            self.on_method(dialog, transaction, request, now_ns)
        except BadMessage as error:
            self.endpoint.respond(transaction, 400, now_ns, reason=error.reason)

    def on_method(self, dialog: Dialog, transaction: Transaction, request: Request, now_ns: int) -> None:
        """Do what a request within `dialog` asks; BadMessage is answered with 400."""
        if request.method == "BYE":
            self.endpoint.respond(transaction, 200, now_ns)
            self.on_bye(dialog, request, now_ns)
        elif request.method == "INFO":
            kind = request.content_type
            self.endpoint.respond(transaction, 200, now_ns)
            self.endpoint.tell(InfoReceived(now_ns, self.handle, kind, request.body, request))
        elif request.method == "OPTIONS":
            self.endpoint.respond(transaction, 200, now_ns, lines=ALLOW_LINE)
        else:
            self.endpoint.respond(transaction, 405, now_ns, lines=ALLOW_LINE)

    def dialog_with(self, remote_tag: str | None) -> Dialog | None:
        """Return the call's dialog with that peer."""
        dialog = self.dialog
        return dialog if dialog is not None and dialog.remote_tag == remote_tag else None

    def on_bye(self, _dialog: Dialog, request: Request, now_ns: int) -> None:
        """Take BYE; where we sent one too, ours was the first."""
        if self.state == ENDING:
            self.finish(self.hung_up("hung up by both sides", None, now_ns))
        else:
            self.finish(Ended(now_ns, self.handle, "remote", "hung up by the peer", request))

    # Our 2xx, and the ACK it waits for.

    def repeat_until_ack(self, flow: Flow, data: bytes, number: int, now_ns: int) -> None:
        """Repeat a 2xx until the ACK with that CSeq comes; without one the call ends (RFC 3261 13.3.1.4)."""
        self._ack_number = number
        self._answering = Repeater(self.endpoint, flow, data, self._on_no_ack, capped=True, now_ns=now_ns)

    def _on_no_ack(self, now_ns: int) -> None:
        self._count_repeats()
        self.endpoint.counts.unacknowledged += 1
        self.end_with_bye("no_ack", "no ACK in 64 * T1", None, now_ns)

    def _count_repeats(self) -> None:
        if self._answering is not None:
            self.resent += self._answering.sent

    def on_ack(self, request: Request, now_ns: int) -> None:
        """Take an ACK: the first one for a 2xx of ours confirms it."""
        if self._answering is None or request.cseq.number != self._ack_number:
            self.endpoint.counts.repeated += 1
            return
        self._count_repeats()
        self._answering.stop()
        self._answering = None
        self.on_confirmed(request, now_ns)
        if self._hang_up_lines is not None and self.state == UP:
            self.bye(now_ns, self._hang_up_lines)

    def on_confirmed(self, request: Request, now_ns: int) -> None:
        """Take the first ACK of a 2xx of ours."""

    # What offers.py adds.

    def on_offer_result(
        self, request: DialogRequest, transaction: Transaction, response: Response, now_ns: int
    ) -> None:
        """Take a final response to a re-INVITE, UPDATE or PRACK."""

    def on_offer_failure(self, request: DialogRequest, status: int, reason: str, now_ns: int) -> None:
        """Hear that a re-INVITE, UPDATE or PRACK gets no response."""

    # The transaction user of server transactions: responses are none of theirs.

    def on_response(self, transaction: Transaction, response: Response, now_ns: int) -> None:
        """Take a response to an INVITE of ours; outgoing.py's."""

    def on_failure(self, _transaction: Transaction, status: int, _reason: str, _now_ns: int) -> None:
        """Hear of a final response of ours without its ACK (timer H), or of one that could not be sent."""
        if status == 408:
            self.endpoint.counts.unacknowledged += 1

    def on_flow_failed(self, flow: Flow) -> None:
        """Ask for a new connection to the same address from now on."""
        if is_same_way(self.flow, flow):
            self.flow = self.flow._replace(connection=0)
        if self.dialog is not None and is_same_way(self.dialog.flow, flow):
            self.dialog.flow = self.dialog.flow._replace(connection=0)


def unknown_extensions(request: Request) -> str:
    """Return the option tags in Require that are not known here, "" = none (RFC 3261 8.2.2.3)."""
    if request.get("require") is None:
        return ""
    return ", ".join(sorted(request.tokens("require") - EXTENSIONS))


def extra_lines(headers: Headers) -> str:
    """Return an application's own header lines."""
    return compose.lines_of(headers) if headers else ""
