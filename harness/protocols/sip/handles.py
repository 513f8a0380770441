"""What the application holds of a user agent: a call, a request, a registration; built by `UserAgent` only.

The verbs of a call raise LocalProtocolError in a state that does not allow them; `hang_up` never raises.
"""

from typing import Any, Protocol

from harness.protocols.sip.compose import Headers
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import Request

INVITING = "Inviting"
RINGING = "Ringing"
ANSWERED = "Answered"
UP = "Up"
ENDING = "Ending"
ENDED = "Ended"


class ClientRequest(Protocol):
    """A request out of a dialog, or an INFO of a call; ends with RequestAnswered."""

    method: str
    owner: Any
    resent: int


class ServerRequest(Protocol):
    """A request out of a dialog that the application answers."""

    message: Request
    flow: Flow

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
        """Answer it, once."""


class Registration(Protocol):
    """A binding at a registrar, refreshed until removed."""

    owner: Any
    # What the registrar granted, 0 before it did.
    expires_s: int

    def remove(self, now_ns: int) -> None:
        """Take the binding away; ends with Unregistered."""


class Call(Protocol):
    """One INVITE dialog of either direction, from the INVITE to Failed or Ended."""

    # Call-ID.
    id: str
    outgoing: bool
    # INVITING: nothing but 100 so far; RINGING: a 1xx; ANSWERED: our 2xx lacks its ACK (or an offerless call ours);
    # UP; ENDING: CANCEL or BYE on its way; ENDED.
    state: str
    # The application's; not looked at.
    owner: Any
    flow: Flow
    local_tag: str
    # Our messages sent again.
    resent: int
    # 401 and 407 answered.
    challenges: int
    # The INVITE of an incoming call.
    request: Request | None
    # The INVITE of an outgoing call as last sent.
    last_request: bytes

    @property
    def remote_tag(self) -> str | None:
        """The peer's tag, None before any response had one."""

    @property
    def remote_target(self) -> str:
        """Where requests of the dialog go: the peer's Contact, a URI."""

    @property
    def remote_user_agent(self) -> str | None:
        """The peer's User-Agent or Server."""

    @property
    def can_offer(self) -> bool:
        """Whether reinvite and update may be called: no offer of either side is open."""

    def hang_up(self, now_ns: int, *, headers: Headers = ()) -> None:
        """End the call the way its state asks for: CANCEL, 480 or BYE; a second time does nothing."""

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
        """Send a provisional response; with `body` it opens early media. `reliable` None: if the peer requires it."""

    def accept(self, body: bytes, now_ns: int, *, headers: Headers = (), content_type: str = "application/sdp") -> None:
        """Answer an incoming call with 200; held back while a reliable 1xx with SDP lacks its PRACK (RFC 3262 3)."""

    def reject(self, status: int, now_ns: int, *, reason: str | None = None, headers: Headers = ()) -> None:
        """Refuse an incoming call: 300 to 699."""

    def acknowledge(self, body: bytes, now_ns: int) -> None:
        """Answer the offer of a call invited without one: in its ACK, or in the PRACK of a 1xx that carried it."""

    def reinvite(self, body: bytes, now_ns: int, *, headers: Headers = ()) -> None:
        """Offer `body` in a re-INVITE; ends with OfferAnswered or OfferRefused."""

    def update(self, body: bytes, now_ns: int, *, headers: Headers = ()) -> None:
        """Offer `body` in an UPDATE (RFC 3311), b"" only refreshes; ends as `reinvite` does."""

    def answer_offer(self, body: bytes, now_ns: int, *, headers: Headers = ()) -> None:
        """Accept what Offered told of."""

    def refuse_offer(self, status: int, now_ns: int, *, reason: str | None = None, headers: Headers = ()) -> None:
        """Refuse what Offered told of; the session goes on as it was."""

    def info(self, body: bytes, content_type: str, now_ns: int) -> ClientRequest:
        """Send an INFO; ends with RequestAnswered."""
