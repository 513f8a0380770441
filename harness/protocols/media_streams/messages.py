"""What a carrier and an agent say to each other in a media stream, whatever the provider calls it."""

from dataclasses import dataclass, field

# --- carrier to agent ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The WebSocket is up; the first message where a provider sends it."""


@dataclass(frozen=True, slots=True)
class Started:
    """The call's stream begins: who calls, and in what encoding both sides speak."""

    stream_id: str = ""
    call_id: str = ""
    account_id: str = ""
    from_number: str = ""
    to_number: str = ""
    # What the application gave its stream to carry (custom parameters, extra headers, metadata).
    parameters: dict[str, str] = field(default_factory=dict)
    # As the provider names it, e.g. "audio/x-mulaw"; "" where it does not.
    encoding: str = ""
    sample_rate: int = 0


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """A piece of what the caller says."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key."""

    digit: str
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class MarkPlayed:
    """All that came before the agent's mark was played; `is_cleared`: or was flushed."""

    name: str
    is_cleared: bool = False


@dataclass(frozen=True, slots=True)
class Cleared:
    """The playout buffer was flushed, as the agent asked."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The call is over; the connection closes next."""

    reason: str = "callended"


CarrierMessage = Connected | Started | CallerAudio | Dtmf | MarkPlayed | Cleared | Stopped

# --- agent to carrier ----------------------------------------------------------------------------------------------


# Not frozen: one is made for every packet, and a frozen one costs three times as much.
@dataclass(slots=True)
class AgentAudio:
    """A piece of what the agent says, of any length; `encoding` and `sample_rate` where the message states them."""

    payload: bytes
    encoding: str = ""
    sample_rate: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Tell me when all audio before this was played."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Flush what was not played yet (barge-in)."""


@dataclass(frozen=True, slots=True)
class ForgetMarks:
    """Do not tell of pending marks any more."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""


AgentMessage = AgentAudio | Mark | Clear | ForgetMarks | HangUp


@dataclass(frozen=True, slots=True)
class Other:
    """A well-formed message that means nothing to a media stream; carriers ignore such ones."""

    kind: str
