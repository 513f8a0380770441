"""Where sessions report: every event goes to the log and into the counters, so that the two cannot disagree."""

import logging
from dataclasses import asdict

from target_stack.telemetry.budget import TOTAL_MS, BudgetWatch, Change, over_ms
from target_stack.telemetry.events import (
    BargedIn,
    BudgetAlert,
    BudgetExceeded,
    CallEnded,
    CallStarted,
    DigitHeard,
    EchoFound,
    EchoLost,
    EventLog,
    TurnFinished,
)
from target_stack.telemetry.spans import SpanSink, Trace
from target_stack.telemetry.stats import Stats

logger = logging.getLogger(__name__)

CONSECUTIVE = ("endpointing_ms", "stt_ms", "llm_ms", "tts_ms", "playout_ms")


class Telemetry:
    """The stack's event log and counters."""

    def __init__(self, stats: Stats, events: EventLog) -> None:
        self.stats = stats
        self.events = events
        self.budget = BudgetWatch()
        # Where spans go besides the events file.
        self.span_sinks: list[SpanSink] = []

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

    def echo_found(self, event: EchoFound) -> None:
        """Count an echo."""
        self.stats.echoes += 1
        self.events.write(event)

    def echo_lost(self, event: EchoLost) -> None:
        """Record that an echo is over."""
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
            total_ms = sum(times[name] for name in CONSECUTIVE)
            self.stats.durations["total"].observe(total_ms)
            self.stats.ttfb.observe(total_ms)
        self.events.write(event)
        if event.spent_ms:
            self._hold_against_budget(event)

    def _hold_against_budget(self, event: TurnFinished) -> None:
        total_ms = sum(event.spent_ms.values())
        if total_ms > TOTAL_MS:
            over = {stage: round(ms, 2) for stage, ms in over_ms(event.spent_ms).items()}
            self.events.write(BudgetExceeded(event.call_id, event.at_ns, event.turn, total_ms, TOTAL_MS, over))
        for change in self.budget.observe(event.spent_ms, event.at_ns):
            self._alert(change, event.at_ns)

    def _alert(self, change: Change, at_ns: int) -> None:
        self.events.write(
            BudgetAlert(at_ns, change.stage, change.p95_ms, change.budget_ms, change.turns, change.is_over)
        )
        logger.log(
            logging.WARNING if change.is_over else logging.INFO,
            "latency budget: P95 of %s is %.0f ms over %d turns, its budget %.0f ms",
            change.stage,
            change.p95_ms,
            change.turns,
            change.budget_ms,
        )

    def turn_traced(self, trace: Trace) -> None:
        """Record the spans of a turn that is over."""
        self.events.write_spans(trace)
        for sink in self.span_sinks:
            sink.write(trace)
