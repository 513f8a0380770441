"""Where audio lies on a recording's timeline: the caller's by arrival, the agent's as it was really played. Pure."""

from dataclasses import dataclass, field

import numpy as np

from harness.model.clock import NS_PER_S
from target_stack.edge.playout import AUDIBLE_RMS, FRAME_SAMPLES
from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm, SpeechOut

# Packets come unevenly; only a hole longer than this is time in which nothing came.
_HOLE_S = 0.2
Placed = tuple[int, Pcm]


class CallerTrack:
    """Places the caller's packets; `began_ns` is the recording's start."""

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._next = 0

    def place(self, samples: Pcm, arrived_at_ns: int) -> Placed:
        """Return the samples with their place: behind the last ones, or where they came in after a hole."""
        by_clock = (arrived_at_ns - self._began_ns) * INPUT_RATE // NS_PER_S - len(samples)
        if by_clock > self._next + _HOLE_S * INPUT_RATE:
            self._next = by_clock
        at = self._next
        self._next += len(samples)
        return at, samples


@dataclass
class _Spoken:
    """A turn's pieces, each with when it was queued; `started_ns` when its first audible packet left."""

    pieces: list[tuple[int, Pcm]] = field(default_factory=list)
    started_ns: int = 0


class AgentTrack:
    """Follows what is queued, begun, drained and dropped, and places what was played when its turn is over."""

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._turns: dict[int, _Spoken] = {}

    def queued(self, speech: SpeechOut, now_ns: int) -> None:
        """Take note of speech that was queued."""
        self._turns.setdefault(speech.turn, _Spoken()).pieces.append((now_ns, speech.samples))

    def started(self, turn: int, at_ns: int) -> None:
        """Take note of a turn's first audible packet."""
        if turn in self._turns:
            self._turns[turn].started_ns = at_ns

    def drained(self, turn: int) -> list[Placed]:
        """Return all of a turn that has been played out."""
        return self._placed(self._turns.pop(turn, _Spoken()), None)

    def dropped(self, played_s: float) -> list[Placed]:
        """Return what had been played of the turn going out when the rest was dropped; forget all others."""
        going_out = [spoken for spoken in self._turns.values() if spoken.started_ns]
        self._turns.clear()
        return self._placed(going_out[0], played_s) if going_out else []

    def ended(self, now_ns: int) -> list[Placed]:
        """Return what had been played when the call ended within a turn."""
        started = [spoken.started_ns for spoken in self._turns.values() if spoken.started_ns]
        return self.dropped((now_ns - started[0]) / NS_PER_S) if started else []

    def _placed(self, spoken: _Spoken, played_s: float | None) -> list[Placed]:
        if not spoken.started_ns or not spoken.pieces:
            return []
        left = None if played_s is None else round(played_s * SPEECH_RATE)
        due = self._sample_at(spoken.started_ns) - _lead(spoken.pieces[0][1])
        placed: list[Placed] = []
        for number, (queued_ns, samples) in enumerate(spoken.pieces):
            part = samples if left is None else samples[: max(0, left)]
            # A later piece that came after the one before had run dry was not played before it came.
            due = max(0, due if number == 0 else max(due, self._sample_at(queued_ns)))
            if len(part):
                placed.append((due, part))
            due += len(part)
            left = None if left is None else left - len(part)
        return placed

    def _sample_at(self, at_ns: int) -> int:
        return (at_ns - self._began_ns) * SPEECH_RATE // NS_PER_S


def _lead(samples: Pcm) -> int:
    """Return how many samples come before the first frame that can be heard."""
    for start in range(0, len(samples), FRAME_SAMPLES):
        wide = samples[start : start + FRAME_SAMPLES].astype(np.float32)
        if float(np.sqrt(np.mean(wide**2))) >= AUDIBLE_RMS:
            return start
    return 0
