"""What a TURN client tells its owner, and what a server's refusals mean in words (RFC 8656 19)."""

from dataclasses import dataclass

from harness.protocols.stun import Address
from harness.protocols.turn_messages import Message

_WORDS = {
    300: "sends us to another server, which is not followed",
    400: "takes our request for malformed",
    401: "refused the credentials",
    403: "forbids it",
    437: "has no such allocation, or another one for our port",
    438: "calls every nonce stale",
    440: "does not relay this address family",
    441: "says that the allocation is another user's",
    442: "does not relay over UDP",
    443: "does not relay from one address family to the other",
    486: "has given this user all the allocations it may have",
    500: "failed by its own fault",
    508: "has no relay port left",
}
_PHRASES = {
    300: "Try Alternate",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    486: "Allocation Quota Reached",
    500: "Server Error",
    508: "Insufficient Capacity",
}


@dataclass(frozen=True, slots=True)
class Allocated:
    """There is a relayed address; `mapped` is ours as the server sees it."""

    relayed: Address
    mapped: Address | None


@dataclass(frozen=True, slots=True)
class Refused:
    """There will be no allocation; `reason` follows the server's name in a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The allocation is gone without our doing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bound:
    """`peer` has a channel from now on."""

    peer: Address
    channel: int


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The server does not relay to `peer`, or no longer."""

    peer: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """A peer's datagram."""

    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """The allocation is given back, or nobody answers; nothing follows."""


Event = Allocated | Refused | Lost | Bound | PeerRefused | Received | Released


def explain(message: Message) -> str:
    """Say what an error response means, with its code and phrase."""
    code, phrase = message.error
    words = _WORDS.get(code, "refused")
    return f"{words}: {code} {phrase or _PHRASES.get(code, 'without a reason')}"
