"""The user agent: messages in, messages and events out, for thousands of calls (RFC 3261 sections 8, 9, 17, 18)."""

from collections.abc import Callable
from typing import Any

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import compose, events, handles, resumption, session_timer
from harness.protocols.sip.call import extra_lines, unknown_extensions
from harness.protocols.sip.check import check_used, without_unreadable
from harness.protocols.sip.compose import Headers
from harness.protocols.sip.config import PRACK, AgentConfig
from harness.protocols.sip.dialog import dialog_of_request
from harness.protocols.sip.digest import DigestClient
from harness.protocols.sip.endpoint import ALLOW_LINE, SUPPORTED_LINES, Counts, Endpoint, merge_key, server_key
from harness.protocols.sip.events import Event
from harness.protocols.sip.flow import Flow, host_port
from harness.protocols.sip.ids import Ids
from harness.protocols.sip.incoming import IncomingCall
from harness.protocols.sip.message import BadMessage, Request, Response, serialise
from harness.protocols.sip.out_of_dialog import OutOfDialogRequest, ReceivedRequest
from harness.protocols.sip.outgoing import OutgoingCall
from harness.protocols.sip.reading import parse
from harness.protocols.sip.refusal import refusal
from harness.protocols.sip.registration import Binding
from harness.protocols.sip.resumption import History
from harness.protocols.sip.transaction import ACCEPTED, Transaction
from harness.protocols.sip.uri import parse_uri

# Without To tags these belong to a call or to nothing.
_IN_DIALOG_ONLY = frozenset({"BYE", "INFO", "PRACK", "UPDATE"})
_SCHEMES = frozenset({"sip", "sips", "tel"})


class UserAgent:
    """Bytes and time in; take_outputs, take_events, next_timer_ns out. Calls: handles.py; events: events.py.

    After any call into it: send take_outputs() in order, handle take_events(), arm one timer at next_timer_ns().
    `seed` makes tags, branches and Call-IDs: another one for every process, None = the operating system's.
    """

    def __init__(self, config: AgentConfig | None = None, *, seed: int | None = None) -> None:
        self.config = config or AgentConfig()
        if self.config.prack not in PRACK:
            raise LocalProtocolError(f"prack {self.config.prack!r}; legal: {', '.join(PRACK)}")
        self._endpoint = Endpoint(self.config, seed)

    # Time, outputs, events.

    def next_timer_ns(self) -> int | None:
        """Return when `handle_timers` must be called next, None when nothing waits."""
        return self._endpoint.wheel.next_ns()

    def handle_timers(self, now_ns: int) -> None:
        """Fire every timer that is due."""
        self._endpoint.wheel.fire(now_ns)

    def take_outputs(self) -> list[tuple[Flow, bytes]]:
        """Return the messages to send since the last time, in order."""
        taken, self._endpoint.outputs = self._endpoint.outputs, []
        return taken

    def take_events(self) -> list[Event]:
        """Return what happened since the last time, in order."""
        taken, self._endpoint.events = self._endpoint.events, []
        return taken

    @property
    def counts(self) -> Counts:
        """What was seen and done since it was made."""
        return self._endpoint.counts

    @property
    def calls(self) -> int:
        """Calls that are not over."""
        return len(self._endpoint.calls)

    @property
    def held(self) -> int:
        """Transactions and timers still alive: 0 some time after the last call."""
        endpoint = self._endpoint
        return len(endpoint.clients) + len(endpoint.servers) + len(endpoint.merges) + len(endpoint.wheel)

    # Requests of ours.

    def invite(
        self,
        uri: str,
        flow: Flow,
        now_ns: int,
        *,
        body: bytes = b"",
        content_type: str = "application/sdp",
        from_: str | None = None,
        to: str | None = None,
        headers: Headers = (),
        routes: tuple[str, ...] = (),
        auth: DigestClient | None = None,
        session_expires_s: int | None = None,
        prack: str | None = None,
        call_id: str | None = None,
        contact_user: str = "callquake",
        owner: Any = None,
    ) -> handles.Call:
        """Call `uri` over `flow`. `from_`, `to`: name-addr text without tag; `routes`: Route values; b"": no offer.

        LocalProtocolError where one of these would break the message.
        """
        if prack not in (None, *PRACK):
            raise LocalProtocolError(f"prack {prack!r}; legal: {', '.join(PRACK)}")
        call = OutgoingCall(
            self._endpoint,
            flow,
            _checked(uri),
            from_=compose.one_line(from_ or f"<sip:callquake@{host_port(flow.local)}>"),
            to=compose.one_line(to or f"<{uri}>"),
            body=body,
            content_type=compose.one_line(content_type),
            lines=extra_lines(headers),
            routes=tuple(map(compose.one_line, routes)),
            auth=auth,
            call_id=compose.one_line(call_id or self._endpoint.call_id(flow)),
            contact_user=contact_user,
            owner=owner,
        )
        call.prack = prack or self.config.prack
        call.asked_s = session_expires_s or self.config.session_expires_s
        call.start(now_ns)
        return call

    def use_ids(self, ids: Ids) -> None:
        """Take tags, branches and Call-IDs from there from now on."""
        self._endpoint.ids = ids

    def resume(self, history: History) -> tuple[handles.Call, list[Event]]:
        """Go on with a call that was begun elsewhere; return it, and what its owner would have been told so far."""
        return resumption.resume(self, self._endpoint, history)

    def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        now_ns: int,
        *,
        body: bytes = b"",
        content_type: str = "text/plain",
        from_: str | None = None,
        to: str | None = None,
        headers: Headers = (),
        routes: tuple[str, ...] = (),
        auth: DigestClient | None = None,
        owner: Any = None,
    ) -> handles.ClientRequest:
        """Send a request out of any dialog: OPTIONS, MESSAGE ...; ends with RequestAnswered."""
        if method in _IN_DIALOG_ONLY or method in ("INVITE", "ACK", "CANCEL", "REGISTER"):
            raise LocalProtocolError(f"{method} is no request of its own; see invite, register and the verbs of a call")
        request = OutOfDialogRequest(
            self._endpoint,
            compose.one_line(method),
            _checked(uri),
            flow,
            from_=compose.one_line(from_ or f"<sip:callquake@{host_port(flow.local)}>"),
            to=compose.one_line(to or f"<{uri}>"),
            lines=extra_lines(headers),
            routes=tuple(map(compose.one_line, routes)),
            body=body,
            content_type=compose.one_line(content_type),
            auth=auth,
            owner=owner,
        )
        request.send(now_ns)
        return request

    def register(
        self,
        registrar: str,
        flow: Flow,
        now_ns: int,
        *,
        aor: str,
        contact_user: str = "callquake",
        expires_s: int = 3600,
        headers: Headers = (),
        routes: tuple[str, ...] = (),
        auth: DigestClient | None = None,
        owner: Any = None,
    ) -> handles.Registration:
        """Bind our Contact at `flow` to `aor` (name-addr text) at `registrar` (a URI) until `remove`."""
        binding = Binding(
            self._endpoint,
            _checked(registrar),
            flow,
            aor=compose.one_line(aor),
            contact_user=contact_user,
            expires_s=expires_s,
            headers=headers,
            routes=tuple(map(compose.one_line, routes)),
            auth=auth,
            owner=owner,
        )
        binding.ask(now_ns)
        return binding

    # What comes in.

    def flow_failed(self, flow: Flow, now_ns: int, reason: str) -> None:
        """Hear that a connection closed, or that a UDP address cannot be reached: its open requests fail with 503."""
        self._endpoint.fail_flow(flow, now_ns, compose.one_line(reason))

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None:
        """Take one message; nothing a peer may send raises."""
        endpoint = self._endpoint
        endpoint.counts.received += 1
        try:
            message = parse(data)
            if isinstance(message, Response):
                endpoint.on_response(self._readable(message), now_ns)
                return
            check_used(message)
        except BadMessage as error:
            endpoint.counts.malformed += 1
            answer = refusal(error, *flow.remote)
            if answer is not None:
                endpoint.outputs.append((flow, serialise(answer)))
            return
        if message.method == "ACK":
            self._on_ack(message, now_ns)
        else:
            self._on_request(message, flow, now_ns)

    def _readable(self, response: Response) -> Response:
        """Bear fields that cannot be read: a response that were dropped for one would leave its request waiting."""
        try:
            check_used(response)
        except BadMessage:
            self.counts.malformed += 1
            return without_unreadable(response)
        return response

    def _on_ack(self, request: Request, now_ns: int) -> None:
        endpoint = self._endpoint
        transaction = endpoint.servers.get(server_key(request, "INVITE"))
        if transaction is not None:
            transaction.step("ACK", now_ns, request)
            if transaction.state != ACCEPTED:
                return
        call = endpoint.calls.get(request.to.tag or "")
        if call is not None and call.id == request.call_id:
            call.on_ack(request, now_ns)
        elif transaction is None:
            endpoint.counts.strays += 1

    def _on_request(self, request: Request, flow: Flow, now_ns: int) -> None:
        endpoint, method = self._endpoint, request.method
        key = server_key(request, method)
        known = endpoint.servers.get(key)
        if known is not None:
            endpoint.counts.repeated += 1
            known.step("INVITE" if method == "INVITE" else "request", now_ns)
            return
        tag = request.to.tag
        call = endpoint.calls.get(tag) if tag is not None else None
        if call is not None and call.id == request.call_id and method != "CANCEL":
            call.on_request(endpoint.open_server(request, key, flow, "", now_ns), request, now_ns)
            return
        transaction = endpoint.open_server(request, key, flow, endpoint.token(), now_ns)
        if method == "CANCEL":
            self._on_cancel(transaction, request, now_ns)
        elif tag is not None or method in _IN_DIALOG_ONLY:
            endpoint.respond(transaction, 481, now_ns)
        else:
            self._on_new(transaction, request, flow, now_ns)

    def _on_cancel(self, transaction: Transaction, request: Request, now_ns: int) -> None:
        """200 where its INVITE is known, whatever became of that (RFC 3261 9.2)."""
        invite = self._endpoint.servers.get(server_key(request, "INVITE"))
        if invite is None:
            self._endpoint.respond(transaction, 481, now_ns)
            return
        self._endpoint.respond(transaction, 200, now_ns)
        if isinstance(invite.user, IncomingCall):
            invite.user.cancel(now_ns)

    def _on_new(self, transaction: Transaction, request: Request, flow: Flow, now_ns: int) -> None:
        """Take a request out of any dialog (RFC 3261 8.2)."""
        endpoint = self._endpoint
        key = merge_key(request)
        if key in endpoint.merges:
            endpoint.counts.merged += 1
            endpoint.respond(transaction, 482, now_ns)
            return
        endpoint.merges[key] = transaction
        transaction.merge_key = key
        try:
            refused = self._why_refused(request, now_ns)
            if refused is not None:
                status, lines = refused
                endpoint.respond(transaction, status, now_ns, lines=lines)
            else:
                is_theirs = request.method in self.config.requests
                handler = UserAgent._on_other if is_theirs else _NEW.get(request.method, UserAgent._on_other)
                handler(self, transaction, request, flow, now_ns)
        except BadMessage as error:
            endpoint.counts.malformed += 1
            endpoint.respond(transaction, error.status or 400, now_ns, reason=error.reason)

    def _why_refused(self, request: Request, now_ns: int) -> tuple[int, str] | None:
        """Return status and header lines of the refusal of a request nobody needs to look at."""
        legal = request.method in _NEW or request.method in self.config.requests
        if not legal or (request.method == "INVITE" and not self.config.invites):
            return 405, ALLOW_LINE
        if request.uri.scheme not in _SCHEMES:
            return 416, ""
        unknown = unknown_extensions(request)
        if unknown:
            return 420, f"Unsupported: {unknown}\r\n"
        if request.get("content-encoding") not in (None, "identity"):
            return 415, "Accept-Encoding: identity\r\n"
        if self.config.verifier is not None and request.method != "OPTIONS":
            return self._challenge(request, now_ns)
        return None

    def _challenge(self, request: Request, now_ns: int) -> tuple[int, str] | None:
        verifier = self.config.verifier
        assert verifier is not None
        verdict = verifier.check(request.method, request.get_all("authorization"), request.body, now_ns)
        if verdict.accepted:
            return None
        values = verifier.challenges(now_ns, stale=verdict.stale)
        return 401, "".join([f"WWW-Authenticate: {value}\r\n" for value in values])

    def _on_invite(self, transaction: Transaction, request: Request, flow: Flow, now_ns: int) -> None:
        endpoint, config = self._endpoint, self.config
        if request.get("session-expires") is not None and session_timer.is_too_short(request, config.min_se_s):
            endpoint.respond(transaction, 422, now_ns, lines=f"Min-SE: {config.min_se_s}\r\n")
            return
        offered = request.tokens("supported") | request.tokens("require")
        if config.prack == "off" and request.get("require") is not None and "100rel" in request.tokens("require"):
            endpoint.respond(transaction, 420, now_ns, lines="Unsupported: 100rel\r\n")
            return
        if config.prack == "required" and "100rel" not in offered:
            endpoint.respond(transaction, 421, now_ns, lines="Require: 100rel\r\n")
            return
        dialog = dialog_of_request(request, flow, transaction.tag)
        call = IncomingCall(endpoint, flow, request, dialog, transaction, now_ns)
        endpoint.tell(events.Incoming(now_ns, call, request, request.body))

    def _on_options(self, transaction: Transaction, _request: Request, _flow: Flow, now_ns: int) -> None:
        lines = f"{ALLOW_LINE}Accept: application/sdp\r\n{SUPPORTED_LINES[self.config.prack != 'off']}"
        self._endpoint.respond(transaction, 200, now_ns, lines=lines, body=self.config.options_body)

    def _on_other(self, transaction: Transaction, request: Request, flow: Flow, now_ns: int) -> None:
        received = ReceivedRequest(self._endpoint, transaction, request, flow)
        self._endpoint.tell(events.RequestReceived(now_ns, received))


_NEW: dict[str, Callable[[UserAgent, Transaction, Request, Flow, int], None]] = {
    "INVITE": UserAgent._on_invite,  # noqa: SLF001 - the class's own table of methods
    "OPTIONS": UserAgent._on_options,  # noqa: SLF001 - as above
}


def _checked(uri: str) -> str:
    try:
        return parse_uri(uri).for_request().text
    except BadMessage as error:
        raise LocalProtocolError(f"cannot send to {uri!r}: {error.reason}") from error
