"""The user's side of a call: any-length audio in, VAD chunks, turn events out, the turn's samples kept."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from target_stack.frames import Pcm
from target_stack.stages.endpointing import (
    Endpointer,
    EndpointEvent,
    EndpointRules,
    SpeechDiscarded,
    SpeechStarted,
    SpeechSustained,
    TurnEnded,
)
from target_stack.stages.vad import CHUNK_MS, CHUNK_SAMPLES, VoiceActivity

# Kept from before the first voiced chunk: VAD hears a soft onset late, the recogniser needs it.
PRE_ROLL_CHUNKS = round(320 / CHUNK_MS)


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The user's turn is over; `samples` is all of it, pre-roll and closing silence included."""

    ended: TurnEnded
    samples: Pcm


HeardEvent = SpeechStarted | SpeechSustained | SpeechDiscarded | UtteranceEnded


class Listening:
    """Cuts audio into VAD chunks, asks the VAD and the endpointer, and collects the turn. One a call; no clock."""

    def __init__(self, vad: VoiceActivity, rules: EndpointRules) -> None:
        self._vad = vad
        self._endpointer = Endpointer(rules)
        self._partial = np.zeros(0, np.int16)
        self._chunks: deque[Pcm] = deque()

    @property
    def is_user_speaking(self) -> bool:
        """True from SpeechStarted until UtteranceEnded."""
        return self._endpointer.is_speech

    def feed(self, samples: Pcm, arrived_at_ns: int) -> list[HeardEvent]:
        """Take the next samples; every whole chunk in them is stamped with their arrival."""
        self._partial = np.concatenate((self._partial, samples))
        events: list[HeardEvent] = []
        while len(self._partial) >= CHUNK_SAMPLES:
            chunk, self._partial = self._partial[:CHUNK_SAMPLES], self._partial[CHUNK_SAMPLES:]
            self._chunks.append(chunk)
            events += self._with_samples(self._endpointer.feed(self._vad.probability(chunk), CHUNK_MS, arrived_at_ns))
        return events

    def tick(self, now_ns: int) -> list[HeardEvent]:
        """Let the endpointer end a turn whose audio stopped coming."""
        return self._with_samples(self._endpointer.tick(now_ns))

    def _with_samples(self, events: list[EndpointEvent]) -> list[HeardEvent]:
        heard = [UtteranceEnded(event, self._take()) if isinstance(event, TurnEnded) else event for event in events]
        if not self._endpointer.is_hearing_voice:
            while len(self._chunks) > PRE_ROLL_CHUNKS:
                self._chunks.popleft()
        return heard

    def _take(self) -> Pcm:
        samples = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)
        self._chunks.clear()
        return samples
