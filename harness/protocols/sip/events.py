"""What happened to a user agent's calls and requests; one class each, named in the past tense.

Every call ends with exactly one Failed (it was never up) or Ended (it was), and nothing comes after it. `at_ns` is the
`now_ns` of the input that brought it about.
"""

from dataclasses import dataclass

from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.handles import Call, ClientRequest, Registration, ServerRequest
from harness.protocols.sip.message import Message, Request, Response


@dataclass(slots=True, eq=False)
class Event:
    """Anything that happened."""

    at_ns: int


@dataclass(slots=True, eq=False)
class CallEvent(Event):
    """Anything that happened to a call."""

    call: Call


@dataclass(slots=True, eq=False)
class Provisional(CallEvent):
    """A 1xx to our INVITE, 100 included; `body` is the SDP of early media or b""."""

    response: Response
    status: int
    body: bytes
    reliable: bool


@dataclass(slots=True, eq=False)
class Challenged(CallEvent):
    """A 401 or 407 to our INVITE; it has been sent again with credentials."""

    response: Response
    status: int


@dataclass(slots=True, eq=False)
class Answered(CallEvent):
    """The first 2xx to our INVITE; acknowledged already, unless we offered nothing."""

    response: Response
    body: bytes


@dataclass(slots=True, eq=False)
class Failed(CallEvent):
    """The call is over and was never up."""

    status: int
    reason: str
    # None where the status is our own: 408, 503, 487.
    response: Response | None
    # "response", "timeout", "transport", "cancelled" (by either side), "rejected" (by us), "auth".
    cause: str

    @property
    def retry_after_s(self) -> int | None:
        """Retry-After in seconds; None where there is none or it is unreadable."""
        try:
            found = None if self.response is None else self.response.valued("retry-after")
        except BadMessage:
            return None
        seconds = "" if found is None else found.value
        return int(seconds) if len(seconds) <= 10 and seconds.isascii() and seconds.isdecimal() else None

    @property
    def contacts(self) -> tuple[str, ...]:
        """URIs to try instead (3xx), in the order given; unreadable ones make none."""
        try:
            found = () if self.response is None else self.response.contacts
        except BadMessage:
            return ()
        return tuple(contact.uri.text for contact in found)


@dataclass(slots=True, eq=False)
class Incoming(CallEvent):
    """A new INVITE: `call` must be rung, accepted or rejected."""

    request: Request
    body: bytes


@dataclass(slots=True, eq=False)
class Confirmed(CallEvent):
    """The ACK of our 2xx came; `body` is the answer where our 2xx carried the offer."""

    body: bytes


@dataclass(slots=True, eq=False)
class Offered(CallEvent):
    """A re-INVITE, UPDATE or PRACK with an offer; b"" = a re-INVITE that asks for ours."""

    method: str
    body: bytes


@dataclass(slots=True, eq=False)
class OfferAnswered(CallEvent):
    """Our re-INVITE or UPDATE was accepted."""

    body: bytes
    response: Response


@dataclass(slots=True, eq=False)
class OfferRefused(CallEvent):
    """Our re-INVITE or UPDATE was not accepted; the session goes on as it was."""

    status: int
    reason: str
    # None: 408 and 503 made here.
    response: Response | None


@dataclass(slots=True, eq=False)
class AnswerReceived(CallEvent):
    """The answer to an offer of ours that a response carried came, in an ACK or a PRACK."""

    body: bytes


@dataclass(slots=True, eq=False)
class InfoReceived(CallEvent):
    """An INFO came and was answered with 200."""

    content_type: str
    body: bytes
    request: Request


@dataclass(slots=True, eq=False)
class Ended(CallEvent):
    """The call was up and is over."""

    # "local", "remote", "no_ack", "session_expired", "transport", "gone" (408 or 481 to a request of ours).
    cause: str
    reason: str
    # What ended it: the peer's BYE, the response to ours; None where nothing came.
    message: Message | None

    @property
    def reason_header(self) -> str | None:
        """The Reason field of what ended the call (RFC 3326)."""
        return None if self.message is None else self.message.get("reason")


@dataclass(slots=True, eq=False)
class RequestReceived(Event):
    """A request out of a dialog came that the application answers."""

    request: ServerRequest


@dataclass(slots=True, eq=False)
class RequestAnswered(Event):
    """A request of ours has its final response."""

    request: ClientRequest
    status: int
    reason: str
    # None: 408 and 503 made here.
    response: Response | None
    # "response", "timeout", "transport", "auth".
    cause: str


@dataclass(slots=True, eq=False)
class Registered(Event):
    """The registrar took or refreshed the binding."""

    registration: Registration
    expires_s: int
    response: Response


@dataclass(slots=True, eq=False)
class RegistrationFailed(Event):
    """The registrar refused or did not answer; the registration is over."""

    registration: Registration
    status: int
    reason: str
    response: Response | None


@dataclass(slots=True, eq=False)
class Unregistered(Event):
    """The binding is gone, as asked."""

    registration: Registration
