"""How many calls a scenario will hold at once at its peak: an estimate, made before the first call."""

import heapq
from statistics import fmean

from harness.model.plan import CallPlan
from harness.scenario.check import Prepared

# What nobody knows before the run: how long the agent takes to answer a turn, and how long it speaks.
ASSUMED_ANSWER_MS = 5_000.0
# The mean length of so many calls stands for all.
_SAMPLED_CALLS = 100


def peak_calls(prepared: Prepared) -> int:
    """Return the most calls at once that the scenario is expected to hold.

    In closed loop it is the number of users; in open loop due times and the estimated length of a call tell.
    """
    users = prepared.loaded.scenario.load.users
    if users is not None:
        most = max(stage.users for stage in users.stages)
        return most if prepared.max_calls is None else min(most, prepared.max_calls)
    due_ms = prepared.due_ms or []
    length_ms = _mean_length_ms(prepared, len(due_ms))
    ends: list[float] = []
    peak = 0
    for due in due_ms:
        while ends and ends[0] <= due:
            heapq.heappop(ends)
        heapq.heappush(ends, due + length_ms)
        peak = max(peak, len(ends))
    return peak


def _mean_length_ms(prepared: Prepared, calls: int) -> float:
    lengths = [
        _length_ms(prepared, prepared.planner.plan_for_index(index)) for index in range(min(calls, _SAMPLED_CALLS))
    ]
    limit_ms = prepared.loaded.scenario.limits.call_timeout_s * 1000
    return min(limit_ms, fmean(lengths)) if lengths else 0.0


def _length_ms(prepared: Prepared, plan: CallPlan) -> float:
    if plan.target.sip is not None and not plan.target.sip.media:
        return plan.target.sip.hold_ms
    utterances = prepared.corpus.utterances
    holds = sum(action.hold_ms for turn in plan.turns for action in turn.actions)
    return holds + sum(
        utterances[turn.utterance_id].duration_ms + turn.think_ms + ASSUMED_ANSWER_MS for turn in plan.turns
    )
