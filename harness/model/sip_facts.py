"""What a SIP call's signalling went through: a part of the call's record."""

from dataclasses import dataclass
from enum import StrEnum


class Bye(StrEnum):
    """What became of the BYE that ended a SIP call."""

    # The call was never up, or ended without one (its connection was cut, say).
    NONE = "none"
    # Ours, answered with a 2xx.
    ANSWERED = "answered"
    # Ours, answered with anything else.
    REFUSED = "refused"
    # Ours, and no answer came for as long as we waited.
    UNANSWERED = "unanswered"
    # The agent's.
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class Provisional:
    """A 1xx response to an INVITE; `at_ms` after the INVITE was first sent."""

    status: int
    at_ms: float


@dataclass(frozen=True, slots=True)
class SipRegistration:
    """A REGISTER and its end; told in the record of the call that ended next. `status` None = nothing came."""

    status: int | None
    # REGISTER first sent -> its final response, a challenge included (RFC 6076 4.1).
    delay_ms: float | None


@dataclass(frozen=True, slots=True)
class SipFacts:
    """What a SIP call's signalling went through; harness/measure/sip.py makes RFC 6076's figures of it.

    Times in ms, from when a request was first sent to when an answer reached this host, challenges (401, 407) and
    redirects (3xx) included.
    """

    # "udp", "tcp" or "tls".
    transport: str
    # The Call-ID header, to find the call in the agent's log; "" = no INVITE was sent.
    call_id: str = ""
    # The final response to the (last) INVITE; None = none came.
    status: int | None = None
    reason: str = ""
    # What the agent calls itself (Server or User-Agent).
    agent: str = ""
    # 401 and 407 answered with credentials, and 3xx followed.
    challenges: int = 0
    redirects: int = 0
    # Requests of ours that had to be sent again for want of an answer.
    retransmissions: int = 0
    # Of a 503.
    retry_after_s: int | None = None
    # No INVITE was sent, because an earlier 503 had asked for silence until later.
    held_back: bool = False
    provisionals: tuple[Provisional, ...] = ()
    # INVITE -> first sign of what becomes of it: a provisional response but 100, or the final one.
    request_delay_ms: float | None = None
    # INVITE -> 2xx.
    answer_delay_ms: float | None = None
    # 2xx -> the BYE that ended the session, or what took its place.
    session_ms: float | None = None
    bye: Bye = Bye.NONE
    # BYE -> its answer; of an unanswered one, how long it was waited for.
    disconnect_delay_ms: float | None = None
    # The agent's audio began before the call was answered; and, where it was audible, when it first was.
    early_media: bool = False
    early_onset_ms: float | None = None
    # INVITEs and UPDATEs of the agent that changed the session.
    changes: int = 0
    # Keys (DTMF) whose event left, and how often the agent was put on hold, or refused to be.
    digits_sent: int = 0
    holds: int = 0
    holds_refused: int = 0
    # Proxies and gateways on the way back, by the Max-Forwards of the agent's own requests; None = it sent none.
    hops: int | None = None
    registrations: tuple[SipRegistration, ...] = ()
    # False: signalling only, no audio was sent, received or measured.
    media: bool = True
