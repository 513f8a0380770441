"""The run as it goes: counts for the progress line, and the last turns and calls for the web UI's tables.

Figures come from harness.measure, over the last `WINDOW` turns and calls; the report covers them all.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from harness.measure import drop_off, ttfb, wer
from harness.measure.pooled import WerRate
from harness.model.codec import from_json
from harness.model.records import CallRecord, TurnRecord

WINDOW = 1_000
_WER_SEGMENTS = ("accent", "noise")


class Live:
    """What has arrived so far."""

    def __init__(self, answer_timeout_ms: float) -> None:
        self._answer_timeout_ms = answer_timeout_ms
        self._turns: deque[TurnRecord] = deque(maxlen=WINDOW)
        self._calls: deque[CallRecord] = deque(maxlen=WINDOW)
        self.ended = 0
        self.turns = 0
        self.outcomes: Counter[str] = Counter()
        self.connected = 0
        self.last_ttfb_ms: float | None = None

    def take(self, kind: str, row: dict[str, Any]) -> None:
        """Count one record or milestone, as JSON."""
        if kind == "turn":
            turn = from_json(TurnRecord, row)
            self._turns.append(turn)
            self.turns += 1
            self.last_ttfb_ms = turn.ttfb_ms if turn.ttfb_ms is not None else self.last_ttfb_ms
        elif kind == "call":
            self._calls.append(from_json(CallRecord, row))
            self.ended += 1
            self.outcomes[row["outcome"]] += 1
        elif kind == "milestone" and row["name"] == "connected":
            self.connected += 1

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of every table, by tab key."""
        turns, calls = list(self._turns), list(self._calls)
        return {
            "callquake-ttfb": _ttfb_rows(turns),
            "callquake-wer": self._wer_rows(turns),
            "callquake-drop-off": _drop_off_rows(calls),
        }

    def _wer_rows(self, turns: Sequence[TurnRecord]) -> list[dict[str, Any]]:
        result = wer.measure(turns, self._answer_timeout_ms)
        if result.overall is None:
            return [{"name": f"not measured: {result.reason}"}]
        rows = [_wer_row("(all)", result.overall)]
        return rows + [_wer_row(f"{s}: {v}", rate) for s, v, rate in result.by_segment if s in _WER_SEGMENTS]


def _ttfb_rows(turns: Sequence[TurnRecord]) -> list[dict[str, Any]]:
    groups: dict[str, list[TurnRecord]] = {"(all)": list(turns)}
    for turn in turns:
        groups.setdefault(f"accent: {turn.accent}", []).append(turn)
        groups.setdefault(f"noise: {turn.noise}", []).append(turn)
    return [_ttfb_row(name, group) for name, group in groups.items()]


def _ttfb_row(name: str, turns: Sequence[TurnRecord]) -> dict[str, Any]:
    result = ttfb.measure(turns)
    ratio = result.sample.response_ratio
    row: dict[str, Any] = {"name": name, "n": result.sample.n, "response": _percent(ratio)}
    for key, estimate in result.percentiles.items():
        # A bound stands where too many turns went unanswered for the figure itself.
        mark = "≥ " if estimate is not None and estimate.is_lower_bound else ""
        row[key] = "-" if estimate is None else f"{mark}{estimate.value:.0f}"
    return row | {"false_endpoints": result.n_false_endpoints}


def _wer_row(name: str, rate: WerRate) -> dict[str, Any]:
    return {
        "name": name,
        "words": rate.n_words,
        "wer": _percent(rate.wer),
        "substitutions": rate.substitutions,
        "deletions": rate.deletions,
        "insertions": rate.insertions,
    }


def _drop_off_rows(calls: Iterable[CallRecord]) -> list[dict[str, Any]]:
    result = drop_off.measure(calls)
    rows = [{"name": "(all)", "calls": result.n_dropped, "share": _percent(result.ratio), "of": result.n}]
    for cause, n in result.by_cause.items():
        rows.append({"name": cause, "calls": n, "share": _percent(n / result.n), "of": result.n})
    return rows


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio * 100:.1f} %"
