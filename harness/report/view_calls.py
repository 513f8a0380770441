"""The calls as the HTML report lists them, worst first, and their turns as points in time."""

from dataclasses import dataclass
from typing import Any

from harness.measure.alignment import Edit
from harness.measure.bands import TTFB_MS, band_of
from harness.measure.stages import STAGES, breakdown_of
from harness.measure.ttfb import Entry, entry_of
from harness.measure.wer import ScoredTurn
from harness.model.clock import ms_between
from harness.model.records import CallRecord, Outcome, TurnRecord
from harness.report.analysis import Analysis
from harness.report.charts.response import TurnPoint
from harness.report.words import ms

_TONE_OF_OUTCOME = {
    Outcome.COMPLETED: "good",
    Outcome.DROPPED: "bad",
    Outcome.FAILED: "bad",
    Outcome.INTERRUPTED: "unknown",
    Outcome.LOST: "void",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A stage's share of a turn's bar, in percent of the run's slowest turn."""

    stage: str
    share: float
    title: str


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One turn as listed; `edits` None when the utterance has no WER."""

    record: TurnRecord
    ttfb: str
    tone: str
    edits: tuple[Edit, ...] | None
    wer: float | None
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call as listed; `call` None when it has turns but no end on record."""

    call_id: str
    call: CallRecord | None
    tone: str
    turns: tuple[TurnRow, ...]
    worst_ms: float | None
    wer: float | None
    duration_s: float | None
    # Path of the recording relative to the report, None when there is no such file.
    recording: str | None


def call_rows(analysis: Analysis) -> list[CallRow]:
    """Return every call: those that ended early first, then by their slowest turn."""
    scored = {_key(s.turn): s for s in analysis.measured.wer.scored}
    slowest = max(analysis.measured.ttfb.sample.observed, default=0.0)
    turns: dict[str, list[TurnRecord]] = {}
    for turn in analysis.run.turns:
        turns.setdefault(turn.call_id, []).append(turn)
    calls: dict[str, CallRecord | None] = {call.call_id: call for call in analysis.run.calls}
    for call_id in turns:
        calls.setdefault(call_id, None)
    rows = [_call_row(analysis, i, call, turns.get(i, []), scored=scored, slowest=slowest) for i, call in calls.items()]
    return sorted(rows, key=_worst_first)


def turn_points(analysis: Analysis) -> list[TurnPoint]:
    """Return answered and censored turns on the run's time axis."""
    spoken = [(t, t.speech_ended_at_ns) for t in analysis.run.turns if t.speech_ended_at_ns is not None]
    start = analysis.run.info.started_monotonic_ns or min((at for _, at in spoken), default=0)
    points: list[TurnPoint] = []
    for turn, at in spoken:
        entry = entry_of(turn)
        if entry is Entry.CENSORED:
            title = f"{turn.call_id}, turn {turn.turn}: no answer in {ms(turn.waited_ms)}"
            points.append(TurnPoint((at - start) / 1e9, turn.waited_ms, True, title))
        elif entry is Entry.ANSWERED and turn.ttfb_ms is not None:
            title = f"{turn.call_id}, turn {turn.turn}: {ms(turn.ttfb_ms)}"
            points.append(TurnPoint((at - start) / 1e9, turn.ttfb_ms, False, title))
    return points


def _key(turn: TurnRecord) -> tuple[str, int, int]:
    return turn.call_id, turn.turn, turn.attempt


def _worst_first(row: CallRow) -> Any:
    is_early = row.call is None or row.call.outcome is not Outcome.COMPLETED
    return (not is_early, -(row.worst_ms or 0.0), row.call_id)


def _call_row(
    analysis: Analysis,
    call_id: str,
    call: CallRecord | None,
    turns: list[TurnRecord],
    *,
    scored: dict[tuple[str, int, int], ScoredTurn],
    slowest: float,
) -> CallRow:
    mine = [s for t in turns if (s := scored.get(_key(t)))]
    n_words = sum(s.n_words for s in mine)
    waits = [t.waited_ms if entry_of(t) is Entry.CENSORED else t.ttfb_ms for t in turns if not t.cut]
    ordered = sorted(turns, key=lambda t: (t.turn, t.attempt))
    return CallRow(
        call_id=call_id,
        call=call,
        tone=_TONE_OF_OUTCOME[call.outcome] if call else "void",
        turns=tuple(_turn_row(t, scored.get(_key(t)), slowest) for t in ordered),
        worst_ms=max((w for w in waits if w is not None), default=None),
        wer=sum(s.errors for s in mine) / n_words if n_words else None,
        duration_s=ms_between(call.started_at_ns, call.ended_at_ns) / 1000 if call else None,
        recording=_recording(analysis, call),
    )


def _recording(analysis: Analysis, call: CallRecord | None) -> str | None:
    """Return the recording's path if it is a file inside the run's directory."""
    if call is None or not call.recording:
        return None
    root = analysis.run.directory.resolve()
    path = (root / call.recording).resolve()
    return call.recording if path.is_file() and path.is_relative_to(root) else None


def _turn_row(turn: TurnRecord, scored: ScoredTurn | None, slowest: float) -> TurnRow:
    text, tone = _answer(turn)
    return TurnRow(
        record=turn,
        ttfb=text,
        tone=tone,
        edits=scored.edits if scored else None,
        wer=scored.errors / scored.n_words if scored and scored.n_words else None,
        parts=_parts(turn, slowest),
    )


def _answer(turn: TurnRecord) -> tuple[str, str]:
    match entry_of(turn):
        case Entry.ANSWERED:
            value = turn.ttfb_ms or 0.0
            return ms(value), band_of(TTFB_MS, value).tone
        case Entry.CENSORED:
            return f"no answer in {ms(turn.waited_ms)}", "bad"
        case Entry.FALSE_ENDPOINT:
            return "agent cut in", "poor"
        case Entry.OUT_OF_STEP:
            return "out of step", "unknown"
        case Entry.UNSPOKEN:
            return "call ended first", "unknown"
        case _:
            return "cut", "unknown"


def _parts(turn: TurnRecord, slowest: float) -> tuple[Part, ...]:
    breakdown = breakdown_of(turn)
    if breakdown is None or slowest <= 0:
        return ()
    known = ((stage, breakdown.parts[stage]) for stage in STAGES)
    return tuple(Part(stage, 100 * v / slowest, f"{stage} {ms(v)}") for stage, v in known if v is not None and v > 0)
