"""One turn's stamps, and the stage times that follow from them. Pure."""

from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from harness.model.clock import NS_PER_MS, NS_PER_S, ms_between
from target_stack.frames import SPEECH_RATE, Pcm, TurnTiming
from target_stack.telemetry.budget import spent_ms
from target_stack.telemetry.events import Outcome
from target_stack.telemetry.spans import Span


@dataclass(slots=True)
class Turn:
    """A user's turn and the agent's reply to it. Number 0 is the greeting, which has no user side.

    In a turn whose stages wait for each other the stamps follow one another:
    last_voiced -endpointing- ended -stt- transcribed -llm- sentence -tts- audio -playout- playing
    With overlap a stage may be done before the one in front of it is certain; its share of the wait is then 0.
    """

    number: int
    last_voiced_ns: int = 0
    ended_ns: int = 0
    # When the audio that ended the turn was heard; `ended_ns` is when it arrived.
    heard_ns: int = 0
    transcribed_ns: int = 0
    first_token_ns: int = 0
    sentence_ns: int = 0
    audio_ns: int = 0
    playing_ns: int = 0
    stt_queue_ms: float = 0.0
    tts_queue_ms: float = 0.0
    # Length of the user's audio as the recogniser got it.
    user_audio_ms: float = 0.0
    user_text: str = ""
    # The words are no recogniser's: nobody is told of them.
    is_emulated: bool = False
    outcome: Outcome = "answered"
    failed_stage: str = ""
    # What was handed to the edge: piece and its seconds of speech.
    spoken: list[tuple[str, float]] = field(default_factory=list)
    # Silence within the reply, because a piece came after the one before had been heard.
    gap_ms: float = 0.0
    spans: list[Span] = field(default_factory=list)
    is_reported: bool = False

    @property
    def reply(self) -> str:
        """All pieces handed to the edge."""
        return " ".join(text for text, _ in self.spoken if text)

    @property
    def queue_ms(self) -> float:
        """What was spent waiting for a free recogniser or voice."""
        return self.stt_queue_ms + self.tts_queue_ms

    def forget_reply(self) -> None:
        """Begin the reply anew: the one before answered other words."""
        self.first_token_ns = self.sentence_ns = self.audio_ns = 0
        self.tts_queue_ms = self.gap_ms = 0.0
        self.outcome, self.failed_stage = "answered", ""
        self.spoken.clear()

    def add_speech(self, text: str, samples: Pcm, ready_ns: int) -> None:
        """Note a piece handed to the edge."""
        if self.spoken and self.playing_ns:
            heard_until_ns = self.playing_ns + round(self.spoken_s * NS_PER_S + self.gap_ms * NS_PER_MS)
            self.gap_ms += max(0.0, ms_between(heard_until_ns, ready_ns))
        self.spoken.append((text, len(samples) / SPEECH_RATE))

    @property
    def spoken_s(self) -> float:
        """Seconds of speech handed to the edge."""
        return sum(seconds for _, seconds in self.spoken)

    def timing(self) -> TurnTiming:
        """Return the stage times of a turn whose playout has begun: each one's own share of the wait."""
        stamps = (
            self.last_voiced_ns,
            self.ended_ns,
            self.transcribed_ns,
            self.sentence_ns,
            self.audio_ns,
            self.playing_ns,
        )
        endpointing, stt, llm, tts, playout = (ms_between(*pair) for pair in pairwise(accumulate(stamps, max)))
        asked_ns = max(self.transcribed_ns, self.ended_ns)
        return TurnTiming(
            turn=self.number,
            endpointing_ms=endpointing,
            stt_ms=stt,
            llm_ms=llm,
            tts_ms=tts,
            playout_ms=playout,
            llm_ttft_ms=max(0.0, ms_between(asked_ns, self.first_token_ns)) if self.first_token_ns else 0.0,
            queue_ms=min(self.stt_queue_ms, stt) + min(self.tts_queue_ms, tts),
        )

    def spent_ms(self) -> dict[str, float]:
        """Return the wait by the latency budget's shares."""
        return spent_ms(
            self.timing(),
            audio_ms=ms_between(self.ended_ns, self.heard_ns),
            stt_queue_ms=self.stt_queue_ms,
            tts_queue_ms=self.tts_queue_ms,
        )

    @property
    def total_ms(self) -> float:
        """From the last voiced audio's arrival to the first audible packet."""
        return (self.playing_ns - self.last_voiced_ns) / NS_PER_MS


def heard_text(spoken: list[tuple[str, float]], played_s: float) -> str:
    """Return what the user heard of `spoken` in `played_s`: whole pieces, then words in proportion to time."""
    heard: list[str] = []
    for text, length_s in spoken:
        if played_s <= 0:
            break
        words = text.split()
        share = min(1.0, played_s / length_s) if length_s else 1.0
        heard += words[: int(len(words) * share)]
        played_s -= length_s
    return " ".join(heard)
