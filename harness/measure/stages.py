"""Where a turn's TTFB went: the agent's own stages, the network, and the rest that nobody explains.

Per answered turn whose agent told its stages: endpointing + stt + llm + tts + playout + network + other = TTFB.
`network` is the round trip: the user's last packet out and the agent's first packet back. `other` is what is left, and
is negative when the agent's account is longer than what the caller heard. A stage the agent did not tell counts as
nothing in the sum, so its time is in `other`.

Means may be added up, percentiles may not: p95 of each stage comes from different turns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.measure.distribution import Sample
from harness.measure.ttfb import Entry, entry_of
from harness.model.records import TurnRecord

AGENT_STAGES = ("endpointing", "stt", "llm", "tts", "playout")
STAGES = (*AGENT_STAGES, "network", "other")


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One turn's TTFB in parts, ms; None = not told. `other` closes the sum."""

    call_id: str
    turn: int
    attempt: int
    ttfb_ms: float
    parts: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage over the turns that told it, ms."""

    n: int
    p50: float
    p95: float
    mean: float


@dataclass(frozen=True, slots=True)
class MeanBreakdown:
    """The mean turn of a group: `parts` add up to `ttfb_ms`."""

    name: str
    n: int
    ttfb_ms: float
    parts: dict[str, float]


@dataclass(frozen=True, slots=True)
class StagesResult:
    """Stages of a run; a stage that no turn told is None."""

    stages: dict[str, StageResult | None]
    groups: list[MeanBreakdown]
    n: int


def breakdown_of(turn: TurnRecord) -> Breakdown | None:
    """Return the parts of an answered turn, None when it has no TTFB or its agent told no stage."""
    if entry_of(turn) is not Entry.ANSWERED or turn.ttfb_ms is None or turn.stages is None:
        return None
    parts: dict[str, float | None] = {name: getattr(turn.stages, f"{name}_ms") for name in AGENT_STAGES}
    if all(value is None for value in parts.values()):
        return None
    parts["network"] = turn.network_ms
    parts["other"] = turn.ttfb_ms - math.fsum(value for value in parts.values() if value is not None)
    return Breakdown(turn.call_id, turn.turn, turn.attempt, turn.ttfb_ms, parts)


def measure(turns: Iterable[TurnRecord]) -> StagesResult:
    """Return each stage's figures, and mean breakdowns of all turns, of the faster half and of the slowest tenth."""
    found = sorted((b for b in map(breakdown_of, turns) if b), key=lambda b: b.ttfb_ms)
    stages = {name: _stage([v for b in found if (v := b.parts[name]) is not None]) for name in STAGES}
    return StagesResult(stages, _groups(found), len(found))


def stage_sample(turns: Iterable[TurnRecord], stage: str) -> Sample:
    """Return the values of `stage` in ms over the turns that told it."""
    found = (b for b in map(breakdown_of, turns) if b)
    return Sample(v for b in found if (v := b.parts[stage]) is not None)


def _stage(values: Sequence[float]) -> StageResult | None:
    sample = Sample(values)
    p50, p95, mean = sample.percentile(0.5), sample.percentile(0.95), sample.mean()
    if p50 is None or p95 is None or mean is None:
        return None
    return StageResult(sample.n, p50.value, p95.value, mean.value)


def _groups(ordered: Sequence[Breakdown]) -> list[MeanBreakdown]:
    if not ordered:
        return []
    half, tenth = math.ceil(len(ordered) / 2), math.ceil(len(ordered) / 10)
    return [
        _mean("all turns", ordered),
        _mean("faster half", ordered[:half]),
        _mean("slowest tenth", ordered[-tenth:]),
    ]


def _mean(name: str, group: Sequence[Breakdown]) -> MeanBreakdown:
    parts = {stage: math.fsum(b.parts[stage] or 0.0 for b in group) / len(group) for stage in STAGES}
    return MeanBreakdown(name, len(group), math.fsum(b.ttfb_ms for b in group) / len(group), parts)
