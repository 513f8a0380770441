"""The user's side of a call: any-length audio in, VAD chunks, turn events out, the turn's samples kept."""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from target_stack.frames import INPUT_RATE, Pcm
from target_stack.stages.endpointing import (
    Endpointer,
    EndpointEvent,
    EndpointRules,
    SpeechDiscarded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechSustained,
    TurnEnded,
)
from target_stack.stages.vad import CHUNK_MS, CHUNK_SAMPLES, VoiceActivity

# Kept from before the first voiced chunk: VAD hears a soft onset late, the recogniser needs it.
PRE_ROLL_CHUNKS = round(320 / CHUNK_MS)

Voice = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heard:
    """A stretch of the user's audio: whole chunks of samples, and how likely each chunk is voice (0-1)."""

    samples: Pcm
    voice: Voice

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.voice)

    @property
    def duration_ms(self) -> float:
        """Length."""
        return 1000 * len(self.samples) / INPUT_RATE

    def since(self, chunk: int) -> "Heard":
        """Return what follows the first `chunk` chunks."""
        return Heard(self.samples[chunk * CHUNK_SAMPLES :], self.voice[chunk:])

    def until(self, chunk: int) -> "Heard":
        """Return the first `chunk` chunks."""
        return Heard(self.samples[: chunk * CHUNK_SAMPLES], self.voice[:chunk])


NOTHING_HEARD = Heard(np.zeros(0, np.int16), np.zeros(0, np.float32))


def together(*stretches: Heard) -> Heard:
    """Return them one after another."""
    return Heard(
        np.concatenate([stretch.samples for stretch in stretches]),
        np.concatenate([stretch.voice for stretch in stretches]),
    )


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The user's turn is over; `samples` is all of it, pre-roll and closing silence included."""

    ended: TurnEnded
    samples: Pcm
    voice: Voice = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def heard(self) -> Heard:
        """All of it."""
        return Heard(self.samples, self.voice)


HeardEvent = SpeechStarted | SpeechSustained | SpeechPaused | SpeechResumed | SpeechDiscarded | UtteranceEnded


class Listening:
    """Cuts audio into VAD chunks, asks the VAD and the endpointer, and collects the turn. One a call; no clock."""

    def __init__(self, vad: VoiceActivity, rules: EndpointRules) -> None:
        self._vad = vad
        self._endpointer = Endpointer(rules)
        self._partial = np.zeros(0, np.int16)
        # Samples and the VAD's answer.
        self._chunks: deque[tuple[Pcm, float]] = deque()

    @property
    def is_user_speaking(self) -> bool:
        """True from SpeechStarted until UtteranceEnded."""
        return self._endpointer.is_speech

    @property
    def chunks(self) -> int:
        """Number of chunks of the utterance that is being spoken, pre-roll included."""
        return len(self._chunks)

    def heard_since(self, chunk: int) -> Heard:
        """Return what has been heard of the present utterance after its first `chunk` chunks."""
        return _joined(list(islice(self._chunks, chunk, None)))

    def feed(self, samples: Pcm, arrived_at_ns: int) -> list[HeardEvent]:
        """Take the next samples; every whole chunk in them is stamped with their arrival."""
        self._partial = np.concatenate((self._partial, samples))
        events: list[HeardEvent] = []
        while len(self._partial) >= CHUNK_SAMPLES:
            chunk, self._partial = self._partial[:CHUNK_SAMPLES], self._partial[CHUNK_SAMPLES:]
            probability = self._vad.probability(chunk)
            self._chunks.append((chunk, probability))
            events += self._with_samples(self._endpointer.feed(probability, CHUNK_MS, arrived_at_ns))
        return events

    def tick(self, now_ns: int) -> list[HeardEvent]:
        """Let the endpointer end a turn whose audio stopped coming."""
        return self._with_samples(self._endpointer.tick(now_ns))

    def _with_samples(self, events: list[EndpointEvent]) -> list[HeardEvent]:
        heard = [self._ended(event) if isinstance(event, TurnEnded) else event for event in events]
        if not self._endpointer.is_hearing_voice:
            while len(self._chunks) > PRE_ROLL_CHUNKS:
                self._chunks.popleft()
        return heard

    def _ended(self, event: TurnEnded) -> UtteranceEnded:
        heard = self.heard_since(0)
        self._chunks.clear()
        return UtteranceEnded(event, heard.samples, heard.voice)


def _joined(chunks: list[tuple[Pcm, float]]) -> Heard:
    if not chunks:
        return NOTHING_HEARD
    return Heard(
        np.concatenate([samples for samples, _ in chunks]),
        np.array([probability for _, probability in chunks], np.float32),
    )
