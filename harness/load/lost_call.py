"""The record of a call whose engine died: what is known of it from this side, counted against the generator."""

from typing import Protocol

from harness.model.clock import ms_between
from harness.model.plan import CallPlan, impairments_of
from harness.model.records import CallRecord, Cause, MediaStats, Outcome, SetupTimes


class Progress(Protocol):
    """How far the call had come."""

    connected_at_ns: int | None
    greeting_ms: float | None
    turns_answered: int


def lost_call(
    plan: CallPlan, worker: str, *, due_at_ns: int | None, placed_at_ns: int, now_ns: int, why: str, progress: Progress
) -> CallRecord:
    """Return a LOST record. Its start is the due time, or the time it was handed over, whichever came later."""
    started_at_ns = max(placed_at_ns, due_at_ns or placed_at_ns)
    return CallRecord(
        call_id=plan.call_id,
        index=plan.index,
        worker=worker,
        caller=plan.caller,
        persona=plan.persona,
        outcome=Outcome.LOST,
        cause=Cause.ENGINE_DIED,
        detail=why,
        transport=plan.target.transport,
        codec=None,
        due_at_ns=due_at_ns,
        started_at_ns=started_at_ns,
        connected_at_ns=progress.connected_at_ns,
        ended_at_ns=max(now_ns, started_at_ns),
        arrival_lateness_ms=None if due_at_ns is None else ms_between(due_at_ns, started_at_ns),
        setup=SetupTimes(),
        greeting_ms=progress.greeting_ms,
        turns_planned=len(plan.turns),
        turns_answered=progress.turns_answered,
        media=MediaStats(),
        impairments=impairments_of(plan),
        target=plan.target.name,
        story=plan.story,
    )
