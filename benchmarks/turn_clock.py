"""One call's turns in a comparison: it speaks once a cycle and times the onset of what comes back."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.turns import CYCLE_S
from harness.callers.exchange import CallEvent, Disconnected
from harness.media.clips import Clip
from harness.media.events import MediaFailed, MediaLost, SpeechStarted
from harness.media.onset import AgentOnset
from harness.media.timers import Timer, Timers
from harness.model.clock import NS_PER_S, monotonic_ns, ms_between


@dataclass(slots=True)
class TurnLog:
    """All calls' turns of one process."""

    spoken: int = 0
    timed: int = 0
    # Calls lost by anyone's fault: no comparison should have any.
    broken: int = 0
    ttfb_ms: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and the spread of the TTFB since the last call of this function."""
        taken, self.ttfb_ms = sorted(self.ttfb_ms), []
        told: dict[str, Any] = {"turns_spoken": self.spoken, "turns_timed": self.timed, "calls_broken": self.broken}
        if taken:
            told["ttfb_ms"] = {
                "median": taken[len(taken) // 2],
                "p99": taken[math.ceil(0.99 * len(taken)) - 1],
                "min": taken[0],
                "max": taken[-1],
            }
        return told


class TurnClock:
    """Speaks `clip` once a cycle on one call, and takes its media events."""

    def __init__(self, clip: Clip, log: TurnLog, timers: Timers) -> None:
        self._clip = clip
        self._log = log
        self._play: Callable[[Clip], None] | None = None
        self._began_at_ns: int | None = None
        self._timers = timers
        self._timer: Timer | None = None
        self._due_ns = 0

    def start(self, play: Callable[[Clip], None], first_after_s: float) -> None:
        """Begin the cycles `first_after_s` from now."""
        self._play = play
        self._due_ns = monotonic_ns() + int(first_after_s * NS_PER_S)
        self._timer = self._timers.at(self._due_ns, self._speak)

    def stop(self) -> None:
        """Speak no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _speak(self) -> None:
        if self._play is None:
            return
        # From the planned time, not from now: turns must not drift together.
        self._due_ns += int(CYCLE_S * NS_PER_S)
        self._timer = self._timers.at(self._due_ns, self._speak)
        self._began_at_ns = None
        self._play(self._clip)
        self._log.spoken += 1

    def take(self, event: CallEvent) -> None:
        """Take what the caller tells of this call."""
        if isinstance(event, SpeechStarted):
            self._began_at_ns = event.at_ns
        elif isinstance(event, AgentOnset) and self._began_at_ns is not None:
            self._log.timed += 1
            self._log.ttfb_ms.append(ms_between(self._began_at_ns, event.at_ns))
            self._began_at_ns = None
        elif isinstance(event, MediaLost | MediaFailed | Disconnected):
            self._log.broken += 1
