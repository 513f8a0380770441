"""Callers who will not wait: they speak over the agent, or all call at one instant."""

from harness.faults.engine_fault import make
from harness.faults.kind import Kind
from harness.faults.parameter import number, whole
from harness.model.fault import Direction, Symptom, Unmoved, Where

KINDS = (
    Kind(
        name="caller.barge_in",
        where=Where.CALLER,
        about="callers speak over the agent: each says its next utterance soon after the agent has begun its answer",
        parameters=(
            number("after_ms", "after the agent's onset", 500.0, high=60_000),
            whole("times", "how often in a call, as far as it has utterances left", 100, low=0, high=1_000),
        ),
        evidence="utterances begun while the agent spoke",
        reverts="calls that begin afterwards are as the scenario has them; it dies with its engine",
        make=make,
        needs="callers with several turns; its symptom is yield_ms, how long the agent speaks on: bound it by a "
        "threshold, for without barge-ins there is none to compare with",
        unmoved=(Unmoved("error_rate", 0.05), Unmoved("setup_ms p50", 200.0)),
    ),
    Kind(
        name="caller.herd",
        where=Where.CALLER,
        about="a thundering herd: whoever is to call while it is in force calls at one instant, when it ends",
        parameters=(),
        evidence="calls that were held back and began at one instant",
        reverts="the herd calls, and whoever calls afterwards calls when due; at the run's end it does not call at all",
        make=make,
        needs_end=True,
        needs="an end, at which they call; calls with audio",
        symptoms=(Symptom("setup_ms p95", Direction.UP, 100),),
        unmoved=(Unmoved("error_rate", 0.05),),
    ),
)
