"""Where sessions report: every event goes to the log and into the counters, so that the two cannot disagree."""

from dataclasses import asdict

from target_stack.telemetry.events import BargedIn, CallEnded, CallStarted, DigitHeard, EventLog, TurnFinished
from target_stack.telemetry.stats import Stats

CONSECUTIVE = ("endpointing_ms", "stt_ms", "llm_ms", "tts_ms", "playout_ms")


class Telemetry:
    """The stack's event log and counters."""

    def __init__(self, stats: Stats, events: EventLog) -> None:
        self.stats = stats
        self.events = events

    def call_started(self, event: CallStarted) -> None:
        """Count a session in."""
        self.stats.sessions += 1
        self.stats.active_sessions += 1
        self.events.write(event)

    def call_ended(self, event: CallEnded) -> None:
        """Count a session out."""
        self.stats.active_sessions -= 1
        self.events.write(event)

    def barged_in(self, event: BargedIn) -> None:
        """Count a barge-in."""
        self.stats.barge_ins += 1
        self.events.write(event)

    def digit_heard(self, event: DigitHeard) -> None:
        """Count a key press."""
        self.stats.digits += 1
        self.events.write(event)

    def turn_finished(self, event: TurnFinished) -> None:
        """Count a turn and, when it was heard, each of its stages."""
        self.stats.turns[event.outcome] += 1
        self.stats.llm_fallbacks += event.outcome == "fallback"
        if event.timing is not None:
            times = {name: ms for name, ms in asdict(event.timing).items() if name.endswith("_ms")}
            for name, ms in times.items():
                self.stats.durations[name.removesuffix("_ms")].observe(ms)
            self.stats.durations["total"].observe(sum(times[name] for name in CONSECUTIVE))
        self.events.write(event)
