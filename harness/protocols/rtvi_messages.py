"""What RTVI 2.1.0 and SmallWebRTC say on a data channel, one dataclass a message; `rtvi` puts them on the wire."""

from dataclasses import dataclass
from typing import Any

VERSION = "2.1.0"


@dataclass(frozen=True, slots=True)
class ClientReady:
    """The client can take messages; the agent answers BotReady with the same id."""

    id: str
    version: str = VERSION
    library: str = ""


@dataclass(frozen=True, slots=True)
class BotReady:
    """The agent can talk."""

    id: str
    version: str = VERSION
    library: str = ""


@dataclass(frozen=True, slots=True)
class UserTranscription:
    """What the agent's STT made of the user's speech; `timestamp` is ISO 8601 on the agent's clock, or empty."""

    text: str
    is_final: bool
    user_id: str = ""
    timestamp: str = ""
    # An addition of our own stack, 0 = not told: a second final text of a turn replaces its first.
    turn: int = 0


@dataclass(frozen=True, slots=True)
class UserInput:
    """What the user said or typed (RTVI 2.2); `input_type` "transcription" repeats what UserTranscription told before.

    Newer agents send both for one utterance, with equal text and timestamp; later ones will send this alone.
    """

    text: str
    input_type: str
    is_final: bool = True
    timestamp: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class UserStartedSpeaking:
    """The agent heard its user start."""


@dataclass(frozen=True, slots=True)
class UserStoppedSpeaking:
    """The agent decided that the user's turn is over."""


@dataclass(frozen=True, slots=True)
class BotStartedSpeaking:
    """Agent speech begins."""


@dataclass(frozen=True, slots=True)
class BotStoppedSpeaking:
    """Agent speech is over."""


@dataclass(frozen=True, slots=True)
class BotInterrupted:
    """The user barged in; the agent dropped what it was saying."""


@dataclass(frozen=True, slots=True)
class BotLlmStarted:
    """A reply begins to stream."""


@dataclass(frozen=True, slots=True)
class BotLlmText:
    """The next piece of the reply as the model streams it; concatenate."""

    text: str


@dataclass(frozen=True, slots=True)
class BotLlmStopped:
    """The reply is complete."""


@dataclass(frozen=True, slots=True)
class BotTtsStarted:
    """Speech synthesis begins."""


@dataclass(frozen=True, slots=True)
class BotTtsText:
    """A piece of text whose speech goes out now."""

    text: str


@dataclass(frozen=True, slots=True)
class BotTtsStopped:
    """Speech synthesis is over."""


@dataclass(frozen=True, slots=True)
class BotTranscription:
    """A sentence of the agent; deprecated in favour of BotOutput."""

    text: str


@dataclass(frozen=True, slots=True)
class BotOutput:
    """A segment of the agent's output; `spoken_status` is new, in-progress, completed, or empty from v1 agents."""

    text: str
    aggregated_by: str = "sentence"
    will_be_spoken: bool = True
    spoken_status: str = "new"


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds that one processor of the agent's pipeline took."""

    processor: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """The agent's own times per processor. `ttfb`: request to first byte; `processing`: request to last byte."""

    ttfb: tuple[ProcessorTime, ...] = ()
    processing: tuple[ProcessorTime, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnTimingMessage:
    """Callquake's own server-message "turn-timing": one turn's stages in ms, consecutive, so they may be added.

    `llm_ttft_ms` lies within `llm_ms`, `queue_ms` within all of them. See harness.model.records.StageTimes.
    """

    turn: int
    endpointing_ms: float
    stt_ms: float
    llm_ms: float
    tts_ms: float
    playout_ms: float
    llm_ttft_ms: float
    queue_ms: float


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """Any other application message of the agent."""

    data: Any


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """The agent reports an error; after a fatal one the session is over."""

    message: str
    is_fatal: bool = False


@dataclass(frozen=True, slots=True)
class DisconnectBot:
    """The client asks the agent to hang up."""


@dataclass(frozen=True, slots=True)
class Ping:
    """SmallWebRTC keep-alive; `sent_ms` is the client's Unix time in ms."""

    sent_ms: int


@dataclass(frozen=True, slots=True)
class TrackStatus:
    """SmallWebRTC: the client mutes or unmutes what receiver `receiver_index` gets."""

    receiver_index: int
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Renegotiate:
    """SmallWebRTC: the agent asks for a new offer."""


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """SmallWebRTC: the agent hung up."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed message of a type not known here; newer agents send some, so it is no error."""

    type: str


Message = (
    ClientReady
    | BotReady
    | UserTranscription
    | UserInput
    | UserStartedSpeaking
    | UserStoppedSpeaking
    | BotStartedSpeaking
    | BotStoppedSpeaking
    | BotInterrupted
    | BotLlmStarted
    | BotLlmText
    | BotLlmStopped
    | BotTtsStarted
    | BotTtsText
    | BotTtsStopped
    | BotTranscription
    | BotOutput
    | Metrics
    | TurnTimingMessage
    | ServerMessage
    | ErrorMessage
    | DisconnectBot
    | Ping
    | TrackStatus
    | Renegotiate
    | PeerLeft
    | Unknown
)
