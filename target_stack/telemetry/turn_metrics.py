"""Drafts, requests to the recogniser and the latency budget as Prometheus text."""

from target_stack.telemetry.budget import BUDGET_MS, TOTAL, TOTAL_MS, BudgetWatch
from target_stack.telemetry.exposition import by, counter, gauge
from target_stack.telemetry.stats import Stats


def render_turns(stats: Stats, budget: BudgetWatch) -> str:
    """Return the text; a stage has no P95 until enough turns were seen."""
    limits = {**BUDGET_MS, TOTAL: TOTAL_MS}
    return "".join(
        (
            counter("drafts", "Replies begun before the turn's end, by what became of them.", by("end", stats.drafts)),
            counter("stt_requests", "Requests to the recogniser by purpose.", by("work", stats.stt_requests)),
            counter("stt_timeouts", "Requests that were given up, by purpose.", by("work", stats.stt_timeouts)),
            counter("speech_gaps", "Replies with silence inside: the next piece was late.", [({}, stats.speech_gaps)]),
            gauge("budget_ms", "Latency budget of a turn by stage.", by("stage", limits)),
            counter("budget_exceeded", "Turns over a stage's budget.", by("stage", budget.exceeded)),
            gauge("budget_p95_ms", "P95 of the last five minutes by stage.", by("stage", budget.p95_ms)),
            gauge("budget_alert", "1 where that P95 is over its budget.", by("stage", budget.alerts)),
        )
    )
