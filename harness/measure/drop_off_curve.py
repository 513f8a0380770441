"""Drop-off against TTFB: who left early, by how long the agent let them wait.

A caller's TTFB is the mean over its turns that awaited an answer; a turn that was never answered enters with the time
waited, which makes the mean one of at least so much (at_least.py says where such a caller is placed). A caller left
early where its patience ran out, or nobody answered or greeted it. Calls that something else ended before their goal
(media lost, the agent hung up, a time-out) tell nothing of callers and are counted apart; in the survival curve they
are censored, like those that reached their goal. When callers leave is a model's answer to measured behaviour, unless
the records are of real calls.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure import inflection as inflections
from harness.measure import survival as survivals
from harness.measure.association import Association, associate
from harness.measure.at_least import place
from harness.measure.calls import PATIENCE, is_ours
from harness.measure.drop_off import wilson
from harness.measure.inflection import BUCKET_MS, Inflection
from harness.measure.survival import Survival
from harness.measure.ttfb import Entry, entry_of
from harness.model.clock import NS_PER_S
from harness.model.records import CallRecord, Cause, Outcome, TurnRecord

# NONE: records made of other systems' call logs need not know why.
LEFT_BY = PATIENCE | {Cause.NO_ANSWER, Cause.NO_GREETING, Cause.NONE}


@dataclass(frozen=True, slots=True)
class Wait:
    """One caller: mean TTFB in ms, a lower bound where `is_at_least`, and whether it left early."""

    call_id: str
    ttfb_ms: float
    is_at_least: bool
    left: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """Callers whose TTFB lies from `low_ms` up to 100 ms more."""

    low_ms: float
    n: int
    n_left: int
    # Of `n`, those whose TTFB is known to be at least something only.
    n_at_least: int
    ratio: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class DropOffCurve:
    """All that is said of drop-off and TTFB."""

    n: int
    n_left: int
    n_at_least: int
    buckets: tuple[Bucket, ...]
    # Callers that waited longer than any answer took: all that is known, with the least of their bounds.
    n_unplaced: int
    n_unplaced_left: int
    unplaced_from_ms: float | None
    # Calls that something else than their caller ended early, and calls without a turn that awaited an answer.
    n_other_ends: int
    n_without_turns: int
    inflection: Inflection
    association: Association
    survival: Survival


def measure(calls: Sequence[CallRecord], turns: Iterable[TurnRecord], seed: int = 0) -> DropOffCurve:
    """Return the curve of `calls`; calls that ended by our own doing are in none of its counts but the survival's."""
    by_call: dict[str, list[TurnRecord]] = {}
    for turn in turns:
        by_call.setdefault(turn.call_id, []).append(turn)
    counted = [call for call in calls if call.connected_at_ns is not None and not is_ours(call)]
    own = [call for call in counted if call.outcome is not Outcome.DROPPED or _left(call)]
    waits = [wait for call in own if (wait := wait_of(call, by_call.get(call.call_id, ()))) is not None]
    return curve_of(
        waits,
        survival=_survival(calls),
        n_other_ends=len(counted) - len(own),
        n_without_turns=len(own) - len(waits),
        seed=seed,
    )


def curve_of(
    waits: Sequence[Wait], *, survival: Survival, n_other_ends: int = 0, n_without_turns: int = 0, seed: int = 0
) -> DropOffCurve:
    """Return the curve of callers, in whatever way their waits are known."""
    values = np.asarray([wait.ttfb_ms for wait in waits], dtype=np.float64)
    left = np.asarray([wait.left for wait in waits], dtype=np.bool_)
    bounds = np.asarray([wait.is_at_least for wait in waits], dtype=np.bool_)
    placed = place(values, bounds)
    is_told = ~np.isnan(placed)
    lost = ~is_told
    return DropOffCurve(
        n=len(waits),
        n_left=int(left.sum()),
        n_at_least=int(bounds.sum()),
        buckets=_buckets(placed[is_told].tolist(), left[is_told].tolist(), bounds[is_told].tolist()),
        n_unplaced=int(lost.sum()),
        n_unplaced_left=int(left[lost].sum()),
        unplaced_from_ms=float(values[lost].min()) if lost.any() else None,
        n_other_ends=n_other_ends,
        n_without_turns=n_without_turns,
        inflection=inflections.find(values, left.tolist(), bounds.tolist(), seed=seed),
        association=associate(placed[is_told], left[is_told]),
        survival=survival,
    )


def wait_of(call: CallRecord, turns: Iterable[TurnRecord]) -> Wait | None:
    """Return how long a call's caller waited on average, None where no turn of it tells."""
    told: list[float] = []
    is_at_least = False
    for turn in turns:
        entry = entry_of(turn)
        if entry is Entry.ANSWERED and turn.ttfb_ms is not None:
            told.append(turn.ttfb_ms)
        elif entry is Entry.CENSORED:
            told.append(turn.waited_ms)
            is_at_least = True
    return Wait(call.call_id, math.fsum(told) / len(told), is_at_least, _left(call)) if told else None


def _left(call: CallRecord) -> bool:
    return call.outcome is Outcome.DROPPED and call.cause in LEFT_BY


def _buckets(values: Sequence[float], left: Sequence[bool], bounds: Sequence[bool]) -> tuple[Bucket, ...]:
    counts: dict[int, list[int]] = {}
    for value, gone, is_bound in zip(values, left, bounds, strict=True):
        row = counts.setdefault(math.floor(value / BUCKET_MS), [0, 0, 0])
        row[0] += 1
        row[1] += gone
        row[2] += is_bound
    return tuple(
        Bucket(index * BUCKET_MS, n, n_left, n_bound, n_left / n, wilson(n_left, n) or (0.0, 1.0))
        for index, (n, n_left, n_bound) in sorted(counts.items())
    )


def _survival(calls: Iterable[CallRecord]) -> Survival:
    """Return how long callers stayed on the line, from the moment it was up."""
    up = [(call.ended_at_ns - call.connected_at_ns, call) for call in calls if call.connected_at_ns is not None]
    return survivals.estimate([max(0.0, ns / NS_PER_S) for ns, _ in up], [_left(call) for _, call in up])
