"""One turn's stamps, and the stage times that follow from them. Pure."""

from dataclasses import dataclass, field

from harness.model.clock import NS_PER_MS, ms_between
from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm, TurnTiming
from target_stack.telemetry.events import Outcome


@dataclass(slots=True)
class Turn:
    """A user's turn and the agent's reply to it. Number 0 is the greeting, which has no user side.

    The stamps follow one another, so the stages between them may be added:
    last_voiced -endpointing- ended -stt- transcribed -llm- sentence -tts- audio -playout- playing
    """

    number: int
    utterance: Pcm
    last_voiced_ns: int = 0
    ended_ns: int = 0
    transcribed_ns: int = 0
    first_token_ns: int = 0
    sentence_ns: int = 0
    audio_ns: int = 0
    playing_ns: int = 0
    queue_ms: float = 0.0
    user_text: str = ""
    outcome: Outcome = "answered"
    failed_stage: str = ""
    # What was handed to the edge: sentence and its seconds of speech.
    spoken: list[tuple[str, float]] = field(default_factory=list)
    is_reported: bool = False

    @property
    def user_audio_ms(self) -> float:
        """Length of the user's audio as the recogniser got it."""
        return 1000 * len(self.utterance) / INPUT_RATE

    @property
    def reply(self) -> str:
        """All sentences handed to the edge."""
        return " ".join(text for text, _ in self.spoken if text)

    def add_speech(self, sentence: str, samples: Pcm) -> None:
        """Note a sentence handed to the edge."""
        self.spoken.append((sentence, len(samples) / SPEECH_RATE))

    def timing(self) -> TurnTiming:
        """Return the stage times of a turn whose playout has begun."""
        return TurnTiming(
            turn=self.number,
            endpointing_ms=ms_between(self.last_voiced_ns, self.ended_ns),
            stt_ms=ms_between(self.ended_ns, self.transcribed_ns),
            llm_ms=ms_between(self.transcribed_ns, self.sentence_ns),
            tts_ms=ms_between(self.sentence_ns, self.audio_ns),
            playout_ms=ms_between(self.audio_ns, self.playing_ns),
            llm_ttft_ms=ms_between(self.transcribed_ns, self.first_token_ns) if self.first_token_ns else 0.0,
            queue_ms=self.queue_ms,
        )

    @property
    def total_ms(self) -> float:
        """From the last voiced audio's arrival to the first audible packet."""
        return (self.playing_ns - self.last_voiced_ns) / NS_PER_MS


def heard_text(spoken: list[tuple[str, float]], played_s: float) -> str:
    """Return what the user heard of `spoken` in `played_s`: whole sentences, then words in proportion to time."""
    heard: list[str] = []
    for text, length_s in spoken:
        if played_s <= 0:
            break
        words = text.split()
        share = min(1.0, played_s / length_s) if length_s else 1.0
        heard += words[: int(len(words) * share)]
        played_s -= length_s
    return " ".join(heard)
