"""Word error rate: pooled edits over reference words, after one pinned normaliser (normaliser.py), aligned by jiwer.

Pooled: edits and words are added up over utterances first and divided once, so a long utterance weighs more than a
short one. The hypothesis is what the agent's STT returned over the transcript side channel.

Which turns are scored:
  cut, or not spoken to the end     never
  a hypothesis was received         scored
  none, answered or timed out       scored as empty: every word is a deletion, for the agent understood nothing
  none, and the call ended first    not scored, counted: its transcript may have been on the way
  no transcript channel             not scored, counted
When no turn of a target has a hypothesis, its WER is not measured; it is never 0 for want of data.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import jiwer
import numpy as np

from harness.measure.normaliser import normalise
from harness.measure.segments import TURN_TAGS, turn_tags
from harness.model.records import TurnRecord

RESAMPLES = 1_000
# Below this many utterances a bootstrap says more about luck than about the agent.
MIN_UTTERANCES_FOR_INTERVAL = 5
# A wait this much shorter than the time-out still is the time-out: one 20 ms tick.
_TICK_MS = 20.0
_CHUNK = 500_000
# Segments that say nothing where all turns are of one.
_OF_SEVERAL = frozenset({"target", "transport"})


@dataclass(frozen=True, slots=True)
class Edit:
    """A stretch of the alignment: kind is "equal", "substitute", "delete" or "insert"."""

    kind: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoredTurn:
    """One utterance aligned with what was heard of it."""

    turn: TurnRecord
    edits: tuple[Edit, ...]
    substitutions: int
    deletions: int
    insertions: int
    n_words: int

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class WerRate:
    """Pooled counts of a set of utterances; `wer` None when they hold no reference word."""

    n_utterances: int
    n_words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class WordErrors:
    """A reference word that was often not understood."""

    word: str
    errors: int
    n: int
    # What was heard instead, most frequent first; "" for nothing.
    heard: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WerResult:
    """WER of a run. `overall` None: not measured, `reason` says why."""

    overall: WerRate | None
    reason: str
    by_segment: list[tuple[str, str, WerRate]] = field(default_factory=list)
    scored: list[ScoredTurn] = field(default_factory=list)
    n_unscored: int = 0
    worst_words: list[WordErrors] = field(default_factory=list)


def measure(turns: Sequence[TurnRecord], answer_timeout_ms: float | None, seed: int = 0) -> WerResult:
    """Return the WER of `turns`; `answer_timeout_ms` tells a timed-out turn from one whose call ended first."""
    spoken = [t for t in turns if not t.cut and t.speech_ended_at_ns is not None]
    # A target that never told a transcript is not one that understood nothing.
    told = {t.target for t in spoken if t.hypothesis is not None}
    if not told:
        return WerResult(None, why_not(spoken))
    spoken = [t for t in spoken if t.target in told]
    scored = score(t for t in spoken if _is_scorable(t, answer_timeout_ms))
    return WerResult(
        overall=pool(scored, seed),
        reason="",
        by_segment=_by_segment(scored, seed),
        scored=scored,
        n_unscored=len(spoken) - len(scored),
        worst_words=_worst_words(scored),
    )


def score(turns: Iterable[TurnRecord]) -> list[ScoredTurn]:
    """Align each turn's hypothesis (None reads as empty) with its reference."""
    chosen = list(turns)
    if not chosen:
        return []
    output = jiwer.process_words(
        [normalise(t.reference) for t in chosen], [normalise(t.hypothesis or "") for t in chosen]
    )
    aligned = zip(chosen, output.references, output.hypotheses, output.alignments, strict=True)
    return [_scored(turn, ref, hyp, chunks) for turn, ref, hyp, chunks in aligned]


def pool(scored: Sequence[ScoredTurn], seed: int = 0) -> WerRate:
    """Add up the counts of `scored` and divide once; the interval resamples whole utterances."""
    words = sum(s.n_words for s in scored)
    return WerRate(
        n_utterances=len(scored),
        n_words=words,
        substitutions=sum(s.substitutions for s in scored),
        deletions=sum(s.deletions for s in scored),
        insertions=sum(s.insertions for s in scored),
        wer=sum(s.errors for s in scored) / words if words else None,
        ci95=bootstrap([s.errors for s in scored], [s.n_words for s in scored], seed),
    )


def bootstrap(errors: Sequence[int], words: Sequence[int], seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of sum(errors) / sum(words), resampling utterances.

    Equal input and seed give an equal interval. None below `MIN_UTTERANCES_FOR_INTERVAL` utterances.
    """
    n = len(words)
    if n < MIN_UTTERANCES_FOR_INTERVAL:
        return None
    rng = np.random.default_rng(seed)
    error_counts, word_counts = np.asarray(errors), np.asarray(words)
    rates: list[float] = []
    rows = max(1, _CHUNK // n)
    for start in range(0, RESAMPLES, rows):
        picks = rng.integers(0, n, (min(rows, RESAMPLES - start), n))
        totals = word_counts[picks].sum(axis=1)
        rates.extend((error_counts[picks].sum(axis=1)[totals > 0] / totals[totals > 0]).tolist())
    if not rates:
        return None
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def _is_scorable(turn: TurnRecord, answer_timeout_ms: float | None) -> bool:
    if turn.hypothesis is not None:
        return True
    if turn.transcript_channel is None:
        return False
    timed_out = answer_timeout_ms is not None and turn.waited_ms >= answer_timeout_ms - _TICK_MS
    return not turn.censored or timed_out


def why_not(turns: Sequence[TurnRecord]) -> str:
    """Return why there is no WER of `turns`, none of which has a hypothesis."""
    spoken = [t for t in turns if not t.cut and t.speech_ended_at_ns is not None]
    if not spoken:
        return "no turn was spoken to its end"
    if all(t.transcript_channel is None for t in spoken):
        return "the target has no transcript channel"
    return "the transcript channel was there, but no transcript came over it"


def _scored(
    turn: TurnRecord, reference: list[str], hypothesis: list[str], chunks: list[jiwer.AlignmentChunk]
) -> ScoredTurn:
    edits = tuple(
        Edit(
            c.type,
            tuple(reference[c.ref_start_idx : c.ref_end_idx]),
            tuple(hypothesis[c.hyp_start_idx : c.hyp_end_idx]),
        )
        for c in chunks
    )
    return ScoredTurn(
        turn=turn,
        edits=edits,
        substitutions=sum(len(e.reference) for e in edits if e.kind == "substitute"),
        deletions=sum(len(e.reference) for e in edits if e.kind == "delete"),
        insertions=sum(len(e.hypothesis) for e in edits if e.kind == "insert"),
        n_words=len(reference),
    )


def _by_segment(scored: Sequence[ScoredTurn], seed: int) -> list[tuple[str, str, WerRate]]:
    tagged = [(turn_tags(s.turn), s) for s in scored]
    keys = [*TURN_TAGS, *sorted({k for tags, _ in tagged for k in tags} - set(TURN_TAGS))]
    rows: list[tuple[str, str, WerRate]] = []
    for key in keys:
        values: dict[str, list[ScoredTurn]] = {}
        for tags, s in tagged:
            if key in tags:
                values.setdefault(tags[key], []).append(s)
        if key in _OF_SEVERAL and len(values) < 2:
            continue
        rows.extend((key, value, pool(values[value], seed)) for value in sorted(values))
    return rows


def _worst_words(scored: Sequence[ScoredTurn], limit: int = 12) -> list[WordErrors]:
    seen: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    heard: dict[str, Counter[str]] = {}
    for edit in (e for s in scored for e in s.edits):
        seen.update(edit.reference)
        if edit.kind not in {"substitute", "delete"}:
            continue
        instead = edit.hypothesis or ("",) * len(edit.reference)
        for word, other in zip(edit.reference, instead, strict=True):
            missed[word] += 1
            heard.setdefault(word, Counter())[other] += 1
    worst = sorted(missed, key=lambda w: (-missed[w], -missed[w] / seen[w], w))[:limit]
    return [WordErrors(w, missed[w], seen[w], tuple(h for h, _ in heard[w].most_common(3))) for w in worst]
