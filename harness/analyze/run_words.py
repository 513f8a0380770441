"""The recordings of a run beside its records: as a table and as JSON."""

from collections.abc import Sequence
from typing import Any

from harness.analyze.of_run import AGREE_MS, CallAnalysis, Pair
from harness.analyze.totals import Totals
from harness.analyze.words import totals_lines
from harness.measure import ttfb
from harness.report.words import ms, words


def render(calls: Sequence[CallAnalysis], totals: Totals) -> str:
    """Return the table of all turns, and the totals of the recordings."""
    lines = [f"{'call':<16}{'turn':>5}{'live TTFB':>16}{'recording':>13}{'difference':>12}  utterance"]
    for call in calls:
        if call.problem:
            lines.append(f"{call.call_id:<16} {call.problem}")
        lines += [_line(call.call_id, pair) for pair in call.pairs]
    pairs = [pair for call in calls for pair in call.pairs]
    both = [p.heard_ms - p.live_ms for p in pairs if p.heard_ms is not None and p.live_ms is not None]
    within = sum(abs(difference) <= AGREE_MS for difference in both)
    lines.append("")
    if both:
        widest = max(abs(difference) for difference in both)
        lines.append(
            f"{within} of {len(both)} turns to {AGREE_MS:g} ms of what was measured live, at most {widest:.1f} ms off"
        )
    lost = sum(pair.live_ms is not None and pair.heard_ms is None for pair in pairs)
    if lost:
        lines.append(f"{lost} turns that were answered live have no TTFB in their recording")
    unanswered = sum(pair.live_ms is None for pair in pairs)
    if unanswered:
        lines.append(
            f"{unanswered} turns without a TTFB of their own (no answer in time, cut in, out of step): not compared"
        )
    return "\n".join([*lines, "", *totals_lines(totals)]) + "\n"


def calls_json(calls: Sequence[CallAnalysis]) -> list[dict[str, Any]]:
    """Return each call's turns, live and in the recording."""
    return [
        {
            "call_id": call.call_id,
            "problem": call.problem or None,
            "turns": [
                {
                    "turn": pair.record.turn,
                    "attempt": pair.record.attempt,
                    "utterance_id": pair.record.utterance_id,
                    "live_ttfb_ms": pair.live_ms,
                    "recording_ttfb_ms": pair.heard_ms,
                    "agrees": pair.agrees,
                }
                for pair in call.pairs
            ],
        }
        for call in calls
    ]


def _line(call_id: str, pair: Pair) -> str:
    live, heard = pair.live_ms, pair.heard_ms
    apart = "" if live is None or heard is None else f"{heard - live:+.1f} ms"
    name = str(pair.record.turn) + (f".{pair.record.attempt}" if pair.record.attempt else "")
    mark = "" if pair.agrees else "  DIFFERS"
    entry = words(ttfb.entry_of(pair.record).value)
    shown = [ms(live) if live is not None else entry, ms(heard) if heard is not None else "none"]
    return f"{call_id:<16}{name:>5}{shown[0]:>16}{shown[1]:>13}{apart:>12}  {pair.record.utterance_id}{mark}"
