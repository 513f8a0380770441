"""Counts of calls and the two metrics that belong to a call, not a turn: set-up time and greeting.

A call counts for or against the agent unless its end was ours: ended by the operator, lost with our engine, or failed
by an error of the generator. Those are counted, and enter no ratio.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.measure.distribution import Sample
from harness.model.clock import ms_between
from harness.model.records import CallRecord, Cause, Outcome, TurnRecord

# Whether callers await a greeting: all of them, by target, or nothing says so.
Expects = bool | Mapping[str, bool] | None
OURS = frozenset({Cause.OPERATOR, Cause.ENGINE_DIED, Cause.GENERATOR_ERROR})
PATIENCE = frozenset(
    {Cause.PATIENCE_SLOW_ANSWERS, Cause.PATIENCE_DEAD_AIR, Cause.PATIENCE_REPEATS, Cause.PATIENCE_MISHEARD}
)


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Calls by how they ended. placed = completed + dropped + failed + interrupted + lost."""

    placed: int
    connected: int
    completed: int
    dropped: int
    failed: int
    interrupted: int
    lost: int
    # Calls among `dropped`, `failed` and `lost` that an error of the generator ended.
    generator_errors: int
    by_cause: dict[str, int]


def is_ours(call: CallRecord) -> bool:
    """Return whether the call's end says nothing about the agent."""
    return call.outcome in {Outcome.INTERRUPTED, Outcome.LOST} or call.cause in OURS


def is_error(call: CallRecord) -> bool:
    """Return whether the call never connected, or ended early through anything but the caller's patience."""
    if is_ours(call):
        return False
    return call.outcome is Outcome.FAILED or (call.outcome is Outcome.DROPPED and call.cause not in PATIENCE)


def count(calls: Sequence[CallRecord], n_open: int = 0) -> CallCounts:
    """Return the counts of `calls`, with `n_open` further ones that spoke and were lost before their record."""
    outcomes = Counter(call.outcome for call in calls)
    causes = Counter(call.cause.value for call in calls if call.cause is not Cause.NONE)
    return CallCounts(
        placed=len(calls) + n_open,
        connected=sum(call.connected_at_ns is not None for call in calls) + n_open,
        completed=outcomes[Outcome.COMPLETED],
        dropped=outcomes[Outcome.DROPPED],
        failed=outcomes[Outcome.FAILED],
        interrupted=outcomes[Outcome.INTERRUPTED],
        lost=outcomes[Outcome.LOST] + n_open,
        generator_errors=sum(call.cause is Cause.GENERATOR_ERROR for call in calls),
        by_cause=dict(causes.most_common()),
    )


def error_rate(calls: Iterable[CallRecord]) -> tuple[float | None, int]:
    """Return the share of calls that ended in an error, and how many calls it is a share of."""
    counted = [call for call in calls if not is_ours(call)]
    return (sum(map(is_error, counted)) / len(counted) if counted else None), len(counted)


def setup_sample(calls: Iterable[CallRecord]) -> Sample:
    """Return the set-up times in ms; a call that never connected took at least as long as it was tried."""
    observed: list[float] = []
    censored: list[float] = []
    for call in calls:
        if call.setup.total_ms is not None:
            observed.append(call.setup.total_ms)
        elif call.connected_at_ns is None and not is_ours(call):
            since = call.started_at_ns if call.due_at_ns is None else min(call.due_at_ns, call.started_at_ns)
            censored.append(ms_between(since, call.ended_at_ns))
    return Sample(observed, censored)


def setup_queue_sample(calls: Iterable[CallRecord]) -> Sample:
    """Return how long set-ups waited for a place in the engine, in ms: the part of the set-up times that is ours."""
    return Sample([call.setup.queue_ms for call in calls if call.setup.queue_ms is not None], [])


def greeting_sample(
    calls: Sequence[CallRecord], turns: Iterable[TurnRecord], expects_greeting: Expects = None
) -> Sample:
    """Return connected -> greeting in ms; a greeting that was awaited in vain took at least as long as was waited.

    `expects_greeting` is the scenario's word on whether its callers await one; they are then taken to have waited until
    they first spoke, or to the end of the call. Without that word, an agent greets that greeted any caller.
    """
    first_spoke = _first_spoke(turns)
    greets = _greets(calls, expects_greeting)
    observed: list[float] = []
    censored: list[float] = []
    for call in calls:
        if call.sip is not None and not call.sip.media:
            continue
        if call.greeting_ms is not None:
            observed.append(call.greeting_ms)
        elif (
            call.connected_at_ns is not None and not is_ours(call) and (greets(call) or call.cause is Cause.NO_GREETING)
        ):
            waited_until = min(first_spoke.get(call.call_id, call.ended_at_ns), call.ended_at_ns)
            censored.append(max(0.0, ms_between(call.connected_at_ns, waited_until)))
    return Sample(observed, censored)


def _greets(calls: Sequence[CallRecord], expects: Expects) -> Callable[[CallRecord], bool]:
    """Return whether a call's agent is one that greets."""
    if isinstance(expects, Mapping):
        return lambda call: expects.get(call.target, False)
    is_so = any(call.greeting_ms is not None for call in calls) if expects is None else expects
    return lambda _call: is_so


def _first_spoke(turns: Iterable[TurnRecord]) -> dict[str, int]:
    """Return when each call's caller first spoke."""
    first: dict[str, int] = {}
    for turn in turns:
        first[turn.call_id] = min(turn.speech_started_at_ns, first.get(turn.call_id, turn.speech_started_at_ns))
    return first
