"""One request within a dialog, with credentials as often as it is asked for them."""

from typing import Any, Protocol

from harness.protocols.sip import compose
from harness.protocols.sip.dialog import Dialog
from harness.protocols.sip.digest import Attempts, DigestClient
from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.message import Response
from harness.protocols.sip.transaction import Transaction


class Sender(Protocol):
    """The call a request belongs to."""

    endpoint: Endpoint
    id: str
    auth: DigestClient | None
    resent: int

    def on_result(self, request: "DialogRequest", transaction: Transaction, response: Response, now_ns: int) -> None:
        """Take a response, provisional ones too; never a 401 or 407 that was answered."""

    def on_no_result(self, request: "DialogRequest", status: int, reason: str, now_ns: int) -> None:
        """Hear that none will come."""


class DialogRequest:
    """BYE, INFO, PRACK, UPDATE or re-INVITE; `extra` are header lines that stay when it is sent again."""

    __slots__ = (
        "_attempts", "auth_lines", "body", "call", "content_type", "dialog", "extra", "is_refresh", "method", "number",
        "owner", "transaction", "tries",
    )  # fmt: skip

    def __init__(
        self,
        call: Sender,
        dialog: Dialog,
        method: str,
        *,
        extra: str = "",
        body: bytes = b"",
        content_type: str = "application/sdp",
    ) -> None:
        self.call = call
        self.dialog = dialog
        self.method = method
        self.extra = extra
        self.body = body
        self.content_type = content_type
        self.owner: Any = None
        # CSeq of the last attempt, and how many there were.
        self.number = 0
        self.tries = 0
        self.auth_lines = ""
        # The last attempt's.
        self.transaction: Transaction | None = None
        # A session refresh of our own accord, which the application did not ask for.
        self.is_refresh = False
        self._attempts: Attempts | None = None

    @property
    def resent(self) -> int:
        """The call's count."""
        return self.call.resent

    @resent.setter
    def resent(self, value: int) -> None:
        self.call.resent = value

    def send(self, now_ns: int) -> None:
        """Send it with the dialog's next CSeq."""
        call, dialog = self.call, self.dialog
        endpoint = call.endpoint
        dialog.local_cseq = self.number = dialog.local_cseq + 1
        self.tries += 1
        flow, branch = dialog.way(follow_contact=endpoint.config.follow_contact), endpoint.branch()
        head = dialog.head(
            self.method, self.number, f"{endpoint.via(flow)}{branch}\r\n", call.id, endpoint.config.max_forwards
        )
        if call.auth is not None:
            self._attempts = self._attempts or Attempts()
            self.auth_lines = call.auth.header_lines(self.method, dialog.request_uri, self.body, self._attempts)
        head += f"{self.auth_lines}{self.extra}{endpoint.agent_line}"
        data = compose.encoded(head, self.body, self.content_type)
        self.transaction = endpoint.send_request(branch, self.method, flow, data, self, now_ns)

    def on_response(self, transaction: Transaction, response: Response, now_ns: int) -> None:
        """Answer a challenge, or hand the response to the call."""
        auth = self.call.auth
        if (
            response.status in (401, 407)
            and auth is not None
            and self._attempts is not None
            and take_challenge(auth, self._attempts, self.call.endpoint, response) is None
        ):
            self.send(now_ns)
            return
        self.call.on_result(self, transaction, response, now_ns)

    def on_failure(self, _transaction: Transaction, status: int, reason: str, now_ns: int) -> None:
        """Hand it to the call."""
        self.call.on_no_result(self, status, reason, now_ns)


def take_challenge(auth: DigestClient, attempts: Attempts, endpoint: Endpoint, response: Response) -> str | None:
    """Take in what a 401 or 407 asks; return None when the request may be sent again, else why not."""
    proxy = response.status == 407
    values = response.get_all("proxy-authenticate" if proxy else "www-authenticate")
    return auth.take(values, attempts, endpoint.token(), proxy=proxy)
