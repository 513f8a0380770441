"""Requests that belong to no call: OPTIONS, MESSAGE and their like, either way."""

from typing import Any

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import compose
from harness.protocols.sip.call import extra_lines
from harness.protocols.sip.compose import Headers
from harness.protocols.sip.dialog_request import take_challenge
from harness.protocols.sip.digest import Attempts, DigestClient
from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.events import RequestAnswered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import Request, Response
from harness.protocols.sip.transaction import Transaction


class OutOfDialogRequest:
    """A request of ours, sent again with credentials where it is asked for them."""

    __slots__ = (
        "__weakref__",
        "_attempts",
        "_auth",
        "_body",
        "_content_type",
        "_ended",
        "_endpoint",
        "_from",
        "_lines",
        "_routes",
        "_to",
        "call_id",
        "cseq",
        "flow",
        "method",
        "owner",
        "resent",
        "uri",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        method: str,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str,
        lines: str = "",
        routes: tuple[str, ...] = (),
        body: bytes = b"",
        content_type: str = "",
        auth: DigestClient | None = None,
        owner: Any = None,
    ) -> None:
        self._endpoint = endpoint
        self.method = method
        self.uri = uri
        self.flow = flow
        self._from = f"{from_};tag={endpoint.token()}"
        self._to = to
        self._lines = lines
        self._routes = "".join([f"Route: {route}\r\n" for route in routes])
        self._body = body
        self._content_type = content_type
        self._auth = auth
        self._attempts = Attempts()
        self.owner = owner
        self.call_id = endpoint.call_id(flow)
        self.cseq = 0
        self.resent = 0
        self._ended = False

    def send(self, now_ns: int) -> None:
        """Send it with the next CSeq."""
        endpoint = self._endpoint
        self.cseq += 1
        branch = endpoint.branch()
        credentials = (
            "" if self._auth is None else self._auth.header_lines(self.method, self.uri, self._body, self._attempts)
        )
        agent = endpoint.agent_line
        head = (
            f"{self.method} {self.uri} SIP/2.0\r\n{endpoint.via(self.flow)}{branch}\r\n{self._routes}"
            f"Max-Forwards: {endpoint.config.max_forwards}\r\nFrom: {self._from}\r\nTo: {self._to}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {self.cseq} {self.method}\r\n{credentials}{agent}{self._lines}"
        )
        data = compose.encoded(head, self._body, self._content_type)
        endpoint.send_request(branch, self.method, self.flow, data, self, now_ns)

    def set_lines(self, lines: str) -> None:
        """Send these further header lines from now on."""
        self._lines = lines
        self._attempts = Attempts()

    def on_response(self, _transaction: Transaction, response: Response, now_ns: int) -> None:
        """Answer a challenge, or tell of a final response."""
        if response.status < 200:
            return
        reason, cause = response.reason, "response"
        if response.status in (401, 407) and self._auth is not None:
            why_not = take_challenge(self._auth, self._attempts, self._endpoint, response)
            if why_not is None:
                self.send(now_ns)
                return
            reason, cause = why_not, "auth"
        self.on_final(response.status, reason, response, cause, now_ns)

    def on_failure(self, _transaction: Transaction, status: int, reason: str, now_ns: int) -> None:
        """Tell that there will be none."""
        self.on_final(status, reason, None, "timeout" if status == 408 else "transport", now_ns)

    def on_final(self, status: int, reason: str, response: Response | None, cause: str, now_ns: int) -> None:
        """Tell the application how it ended."""
        self._endpoint.tell(RequestAnswered(now_ns, self, status, reason, response, cause))


class ReceivedRequest:
    """A request of a peer's that the application answers."""

    __slots__ = ("_endpoint", "_transaction", "flow", "message")

    def __init__(self, endpoint: Endpoint, transaction: Transaction, message: Request, flow: Flow) -> None:
        self._endpoint = endpoint
        self._transaction = transaction
        self.message = message
        self.flow = flow

    def respond(
        self,
        status: int,
        now_ns: int,
        *,
        reason: str | None = None,
        headers: Headers = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
    ) -> None:
        """Answer it; LocalProtocolError after its final response."""
        if not self._transaction.stem:
            raise LocalProtocolError(f"{self.message.method} of {self.message.call_id} was answered already")
        lines = extra_lines(headers)
        kind = compose.one_line(content_type)
        self._endpoint.respond(
            self._transaction, status, now_ns, reason=reason, lines=lines, body=body, content_type=kind
        )
