"""What a conversation hears (events) and does (actions): the words between Conversation and its I/O shell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.media.events import MediaEvent
from harness.model.records import Cause, Outcome, StageTimes, TurnRecord


class Spoken(Protocol):
    """What a turn's record quotes of the utterance it spoke (harness.corpus's Utterance)."""

    @property
    def transcript(self) -> str:
        """The words."""

    @property
    def accent(self) -> str:
        """Accent label."""

    @property
    def native(self) -> bool | None:
        """Whether the accent is a native one; None = nobody said."""

    @property
    def noise(self) -> str:
        """Noise kind."""

    @property
    def snr_db(self) -> float | None:
        """Speech-to-noise ratio."""

    @property
    def vocabulary(self) -> str:
        """Vocabulary label."""

    @property
    def duration_ms(self) -> float:
        """Length."""

    @property
    def segments(self) -> Mapping[str, str]:
        """What else the corpus tells of it, by name: room, channel, domain, tags."""

    @property
    def entities(self) -> tuple[str, ...]:
        """Parts of the words that must be right, as the corpus names them."""


@dataclass(frozen=True, slots=True)
class UserTranscript:
    """What the agent's STT returned; of one `segment` (0 = not told) only the last text holds."""

    text: str
    segment: int = 0


@dataclass(frozen=True, slots=True)
class AgentText:
    """Text the agent is saying. Agents tell it in several ways; `source` is the way, see TEXT_SOURCES."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class AgentSpeaking:
    """The side channel says that the agent began (or ended) speaking; never used for timing."""

    speaking: bool


@dataclass(frozen=True, slots=True)
class AgentStages:
    """The agent's own stage times of the current turn."""

    stages: StageTimes


@dataclass(frozen=True, slots=True)
class TranscriptChannel:
    """A side channel that carries transcripts is up."""

    name: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The agent ended the connection, or is known to be gone."""

    detail: str
    cause: Cause = Cause.AGENT_HUNG_UP


# The nearest to what was spoken first; a turn's record quotes one source only.
TEXT_SOURCES = ("tts", "output", "transcription")

SideEvent = UserTranscript | AgentText | AgentSpeaking | AgentStages | TranscriptChannel | Disconnected
CallEvent = MediaEvent | SideEvent


@dataclass(frozen=True, slots=True)
class Speak:
    """Play this utterance."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class Press:
    """Press these keys (DTMF)."""

    digits: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Put the agent on hold, or take the call up again."""

    on: bool


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """A turn is over; here is its row."""

    record: TurnRecord


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""

    outcome: Outcome
    cause: Cause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Milestone:
    """For the live display: "greeting", "turn_started", "turn_answered"."""

    name: str
    at_ns: int
    value_ms: float | None = None


Action = Speak | Press | Hold | TurnEnded | HangUp | Milestone


@dataclass(frozen=True, slots=True)
class MediaView:
    """What the media path knows at the moment of an event."""

    packets_lost: int = 0
    round_trip_ms: float | None = None
