"""What flows between an edge (one transport) and an agent session (the pipeline), and who calls whom.

    edge  --push_audio(16 kHz mono)-->  AgentSession  --EdgeSink.play(24 kHz speech)-->  edge
          --playout_started/drained-->                --EdgeSink.tell(event)---------->  (RTVI on the data channel)
                                                      --EdgeSink.flush() on barge-in-->

Three families, after the field's usage: system events jump every queue (`UserStartedSpeaking`, `Interrupted`), data is
ordered and dropped on interruption (`SpeechOut`, `LlmText`), control is ordered and kept (`TurnTiming`, `BotStopped`).
All `_ns` are CLOCK_MONOTONIC of this host.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

INPUT_RATE = 16_000
SPEECH_RATE = 24_000

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class SpeechOut:
    """A piece of agent speech: int16 mono at SPEECH_RATE. Turn 0 is the greeting."""

    turn: int
    text: str
    samples: Pcm
    is_last: bool


@dataclass(frozen=True, slots=True)
class UserStartedSpeaking:
    """VAD heard the user."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class UserStoppedSpeaking:
    """The endpointer decided that the user's turn is over."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """What STT made of the user's turn."""

    turn: int
    text: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class LlmText:
    """A piece of the reply as the model streams it; `started`/`stopped` frame it."""

    turn: int
    text: str
    started: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class TtsText:
    """A sentence whose speech is now going out."""

    turn: int
    text: str
    started: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class BotStartedSpeaking:
    """The first audible packet of a turn left."""

    turn: int


@dataclass(frozen=True, slots=True)
class BotStoppedSpeaking:
    """The last packet of a turn left."""

    turn: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Barge-in: everything downstream of the user's voice was cancelled; `heard` is what had been played."""

    turn: int
    heard: str


@dataclass(frozen=True, slots=True)
class TurnTiming:
    """Each stage's own duration of one turn in ms, consecutive (they may be added); see harness StageTimes."""

    turn: int
    endpointing_ms: float
    stt_ms: float
    llm_ms: float
    tts_ms: float
    playout_ms: float
    # Inside llm_ms: request -> first token.
    llm_ttft_ms: float
    # Waiting in stage queues, already inside the stages above.
    queue_ms: float


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage gave up on this turn; `fatal` ends the call."""

    turn: int
    stage: str
    message: str
    fatal: bool = False


AgentEvent = (
    UserStartedSpeaking
    | UserStoppedSpeaking
    | Transcript
    | LlmText
    | TtsText
    | BotStartedSpeaking
    | BotStoppedSpeaking
    | Interrupted
    | TurnTiming
    | StageFailed
)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What an edge knows of a call before a word is said."""

    # Who calls: a number or account; "" where the transport does not tell.
    caller: str = ""
    # What the call carries for us, by FACT_NAMES: SIP and HTTP headers X-Callquake-*, or parameters of these names.
    parameters: Mapping[str, str] = field(default_factory=dict)


# `caller` stands above what the transport tells.
FACT_NAMES = ("caller", "region", "direction", "consent")


class EdgeSink(Protocol):
    """What an edge offers to the session. Called on the event loop; none of it blocks."""

    @property
    def facts(self) -> CallFacts:
        """Tell who calls, and what the call carries."""

    def decline(self) -> None:
        """End the call: without the caller's consent the agent may not go on."""

    def play(self, speech: SpeechOut) -> None:
        """Queue speech for playout behind what is already queued."""

    def flush(self) -> float:
        """Drop all speech not yet sent; return how many seconds of the current turn had been played."""

    def tell(self, event: AgentEvent) -> None:
        """Tell the client, if its protocol has a way."""


class AgentSession(Protocol):
    """One call's agent as an edge sees it. `start` before the first `push_audio`; `aclose` exactly once."""

    async def start(self) -> None:
        """Begin: the greeting is queued."""

    def push_audio(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Take the next int16 mono samples at INPUT_RATE, any length; never blocks, never raises on a slow pipeline."""

    def push_digit(self, digit: str, duration_ms: float, at_ns: int) -> None:
        """Take note that the user pressed a key (0-9, *, #, A-D) for `duration_ms`."""

    def playout_started(self, turn: int, at_ns: int) -> None:
        """Take note that the first audible packet of `turn` was handed to the network."""

    def playout_drained(self, turn: int, at_ns: int) -> None:
        """Take note that the last queued packet of `turn` was handed to the network."""

    async def aclose(self) -> None:
        """Cancel every stage of this call and wait for them."""


class SessionFactory(Protocol):
    """Builds the session of a new call."""

    def __call__(self, call_id: str, sink: EdgeSink) -> AgentSession:
        """Return a session that has not started."""
