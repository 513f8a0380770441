"""Agent speech as 20 ms frames: what is queued, what has been played, when a turn begins and ends. No clock in here.

play(piece) -> | turn 1: sentence, sentence, last | turn 2: ... |  -> next_frame() every 20 ms, silence when empty
                                                      flush() drops what is queued (barge-in)
"""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from target_stack.frames import SPEECH_RATE, Pcm, SpeechOut

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_MS = 20
FRAME_SAMPLES = SPEECH_RATE * FRAME_MS // 1000
# What a listener can hear: RMS over one frame, in int16 units (-50 dBFS).
AUDIBLE_RMS = 32768 * 10 ** (-50 / 20)


@dataclass(frozen=True, slots=True)
class Frame:
    """The next 20 ms; `samples` is None for silence.

    `started`: the turn whose first audible frame this is. `drained`: the turns of which nothing is left after it.
    """

    samples: Pcm | None
    started: int | None = None
    drained: tuple[int, ...] = ()


SILENCE = Frame(None)


class Playout:
    """Queued speech of one call."""

    def __init__(self) -> None:
        self._pieces: deque[SpeechOut] = deque()
        # Read position in the first piece.
        self._offset = 0
        # The turn going out, how much of it has, and whether any of that could be heard.
        self._turn: int | None = None
        self._played_samples = 0
        self._is_audible = False
        # Told of each frame of speech as it is taken.
        self.on_speech: Callable[[Pcm], None] | None = None

    @property
    def speaking_turn(self) -> int | None:
        """The turn that is audible now, None between turns."""
        return self._turn if self._is_audible else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued."""
        return not self._pieces

    def play(self, speech: SpeechOut) -> None:
        """Queue a piece."""
        self._pieces.append(speech)

    def flush(self) -> float:
        """Drop what is queued; return the seconds played of the turn that was going out, 0 when there was none."""
        played_s = self._played_samples / SPEECH_RATE if self._turn is not None else 0.0
        self._pieces.clear()
        self._offset = 0
        self._end_turn()
        return played_s

    def next_frame(self) -> Frame:
        """Return the next 20 ms. A frame never holds two turns; a turn that ran dry is padded with silence."""
        drained = self._drop_spent()
        if not self._pieces:
            return Frame(None, drained=drained) if drained else SILENCE
        self._enter(self._pieces[0].turn)
        samples = self._take()
        if self.on_speech is not None:
            self.on_speech(samples)
        started = None
        if not self._is_audible and _rms(samples) >= AUDIBLE_RMS:
            self._is_audible = True
            started = self._turn
        return Frame(samples, started, drained + self._drop_spent())

    def _enter(self, turn: int) -> None:
        if turn != self._turn:
            self._end_turn()
            self._turn = turn

    def _end_turn(self) -> None:
        self._turn = None
        self._played_samples = 0
        self._is_audible = False

    def _take(self) -> Pcm:
        """Fill one frame from the pieces of the current turn."""
        frame = np.zeros(FRAME_SAMPLES, np.int16)
        filled = 0
        while self._pieces and filled < FRAME_SAMPLES and self._pieces[0].turn == self._turn:
            piece = self._pieces[0]
            part = piece.samples[self._offset : self._offset + FRAME_SAMPLES - filled]
            frame[filled : filled + len(part)] = part
            filled += len(part)
            self._offset += len(part)
            if self._offset < len(piece.samples) or piece.is_last:
                break
            self._pieces.popleft()
            self._offset = 0
        self._played_samples += filled
        return frame

    def _drop_spent(self) -> tuple[int, ...]:
        """Remove fully read pieces from the front; return the turns that ended with them."""
        drained: list[int] = []
        while self._pieces and self._offset >= len(self._pieces[0].samples):
            piece = self._pieces.popleft()
            self._offset = 0
            if piece.is_last:
                drained.append(piece.turn)
                if piece.turn == self._turn:
                    self._end_turn()
        return tuple(drained)


def _rms(samples: Pcm) -> float:
    wide = samples.astype(np.float32)
    return float(np.sqrt(np.dot(wide, wide) / max(1, len(wide))))
