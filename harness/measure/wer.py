"""Word error rate of a run: pooled edits over reference words, after one pinned normaliser (normaliser.py), by jiwer.

Pooled: edits and words are added up over utterances first and divided once (pooled.py), so a long utterance weighs more
than a short one. The hypothesis is what the agent's STT returned over the transcript side channel.

Which turns are scored:
  cut, or not spoken to the end     never
  a hypothesis was received         scored
  none, answered or timed out       scored as empty: every word is a deletion, for the agent understood nothing
  none, and the call ended first    not scored, counted: its transcript may have been on the way
  no transcript channel             not scored, counted
  of a target with an emulated STT  never: its words are none of the caller's
  beyond a sample of a long run     not scored, counted (sampling.py)
When no turn of a target has a hypothesis, its WER is not measured; it is never 0 for want of data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.measure import entities
from harness.measure.alignment import Alignment, align
from harness.measure.entities import EntityRate, HeardEntity, MissedEntity
from harness.measure.pooled import WerRate
from harness.measure.pooled import pool as pool_alignments
from harness.measure.sampling import Sampling, draw
from harness.measure.segments import segmented, turn_tags
from harness.measure.worst import WordErrors, WorstUtterance, worst_utterances, worst_words
from harness.model.records import TurnRecord

# A wait this much shorter than the time-out still is the time-out: one 20 ms tick.
_TICK_MS = 20.0
# The tag by which entities are told apart, besides those of their turn.
ENTITY_TAG = "entity"


@dataclass(frozen=True, slots=True)
class ScoredTurn(Alignment):
    """One utterance aligned with what was heard of it."""

    turn: TurnRecord


@dataclass(frozen=True, slots=True)
class TurnEntity(HeardEntity):
    """One entity of a scored turn."""

    turn: TurnRecord

    @property
    def tags(self) -> dict[str, str]:
        """The turn's tags and the entity's kind."""
        return {**turn_tags(self.turn), ENTITY_TAG: self.kind}


@dataclass(frozen=True, slots=True)
class EntityResult:
    """Entity accuracy of a run (entities.py)."""

    overall: EntityRate
    # By segment; those of `ENTITY_TAG` are the kinds.
    by_segment: list[tuple[str, str, EntityRate]]
    scored: list[TurnEntity]
    worst: list[MissedEntity]
    # Named by the manifest, but not in the words of their reference.
    n_not_in_reference: int


@dataclass(frozen=True, slots=True)
class WerResult:
    """WER of a run. `overall` None: not measured, `reason` says why."""

    overall: WerRate | None
    reason: str
    by_segment: list[tuple[str, str, WerRate]] = field(default_factory=list)
    scored: list[ScoredTurn] = field(default_factory=list)
    n_unscored: int = 0
    # Turns that could be scored; more than are in `scored` where that is a sample.
    n_scorable: int = 0
    worst_words: list[WordErrors] = field(default_factory=list)
    worst_utterances: list[WorstUtterance[ScoredTurn]] = field(default_factory=list)
    # None where WER was not measured.
    entities: EntityResult | None = None

    @property
    def is_sample(self) -> bool:
        """Whether not all turns that could be were scored."""
        return len(self.scored) < self.n_scorable

    @property
    def entity_list(self) -> list[TurnEntity]:
        """Every entity scored."""
        return self.entities.scored if self.entities else []


def measure(
    turns: Sequence[TurnRecord],
    answer_timeout_ms: float | None,
    seed: int = 0,
    sampling: Sampling | None = None,
    not_heard: Mapping[str, str] | None = None,
) -> WerResult:
    """Return the WER of `turns`; `answer_timeout_ms` tells a timed-out turn from one whose call ended first.

    `not_heard`: by target, why what it tells of words is no transcript, as of one whose STT is emulated.
    """
    spoken = [t for t in turns if not t.cut and t.speech_ended_at_ns is not None]
    # A target that never told a transcript is not one that understood nothing.
    told = {t.target for t in spoken if t.hypothesis is not None} - set(not_heard or ())
    if not told:
        return WerResult(None, why_not(spoken, not_heard))
    spoken = [t for t in spoken if t.target in told]
    scorable = [t for t in spoken if _is_scorable(t, answer_timeout_ms)]
    scored = score(draw(scorable, _key, sampling or Sampling(), seed))
    return WerResult(
        overall=pool(scored, seed),
        reason="",
        by_segment=[(key, value, pool(part, seed)) for key, value, part in segmented(scored, _tags)],
        scored=scored,
        n_unscored=len(spoken) - len(scorable),
        n_scorable=len(scorable),
        worst_words=worst_words(scored),
        worst_utterances=worst_utterances(scored, owner),
        entities=_entities(scored),
    )


def score(turns: Iterable[TurnRecord]) -> list[ScoredTurn]:
    """Align each turn's hypothesis (None reads as empty) with its reference."""
    chosen = list(turns)
    aligned = align([t.reference for t in chosen], [t.hypothesis or "" for t in chosen])
    return [
        ScoredTurn(a.edits, a.substitutions, a.deletions, a.insertions, a.n_words, turn)
        for a, turn in zip(aligned, chosen, strict=True)
    ]


def pool(scored: Sequence[ScoredTurn], seed: int = 0) -> WerRate:
    """Add up the counts of `scored` and divide once; the interval resamples utterances with all their sayings."""
    return pool_alignments(scored, [owner(s) for s in scored], seed)


def owner(scored: ScoredTurn) -> str:
    """Return the utterance that was said."""
    return scored.turn.utterance_id


def _tags(scored: ScoredTurn) -> dict[str, str]:
    return turn_tags(scored.turn)


def _key(turn: TurnRecord) -> tuple[str, int, int]:
    return turn.call_id, turn.turn, turn.attempt


def _is_scorable(turn: TurnRecord, answer_timeout_ms: float | None) -> bool:
    if turn.hypothesis is not None:
        return True
    if turn.transcript_channel is None:
        return False
    timed_out = answer_timeout_ms is not None and turn.waited_ms >= answer_timeout_ms - _TICK_MS
    return not turn.censored or timed_out


def why_not(turns: Sequence[TurnRecord], not_heard: Mapping[str, str] | None = None) -> str:
    """Return why there is no WER of `turns`, none of which has a hypothesis that counts."""
    spoken = [t for t in turns if not t.cut and t.speech_ended_at_ns is not None]
    if not spoken:
        return "no turn was spoken to its end"
    if not_heard and all(t.target in not_heard for t in spoken):
        return not_heard[spoken[0].target]
    if all(t.transcript_channel is None for t in spoken):
        return "the target has no transcript channel"
    return "the transcript channel was there, but no transcript came over it"


def _entities(scored: Sequence[ScoredTurn]) -> EntityResult:
    heard: list[TurnEntity] = []
    n_missing = 0
    for one in scored:
        found, missing = entities.find(one, one.turn.entities)
        heard += [TurnEntity(e.words, e.kind, e.is_right, e.heard, one.turn) for e in found]
        n_missing += missing
    segments = segmented(heard, lambda e: e.tags, also=(ENTITY_TAG,))
    return EntityResult(
        overall=entities.rate_of(heard),
        by_segment=[(key, value, entities.rate_of(part)) for key, value, part in segments],
        scored=heard,
        worst=entities.worst_of(heard),
        n_not_in_reference=n_missing,
    )
