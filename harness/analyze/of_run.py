"""Every recording of a run, analysed, beside what the callers measured live: do file and records say the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.analyze.analyse import Analysis, Settings, analyse
from harness.analyze.recording import read_recording
from harness.analyze.turns import Entry, Turn
from harness.measure import ttfb
from harness.model.errors import ScenarioError
from harness.model.records import TurnRecord
from harness.report.store import StoredRun, read_run

AGREE_MS = 20.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn of the records and the recording's; None = it is not in the recording."""

    record: TurnRecord
    turn: Turn | None

    @property
    def live_ms(self) -> float | None:
        """The TTFB that the caller measured."""
        return self.record.ttfb_ms if ttfb.entry_of(self.record) is ttfb.Entry.ANSWERED else None

    @property
    def heard_ms(self) -> float | None:
        """The TTFB in the recording."""
        return None if self.turn is None or self.turn.entry is not Entry.ANSWERED else self.turn.ttfb_ms

    @property
    def agrees(self) -> bool:
        """Whether both say the same, to 20 ms, of a turn that was answered live; else there is nothing to compare.

        What came after the time-out, or late for an earlier turn, is in the recording all the same.
        """
        if self.live_ms is None:
            return True
        return self.heard_ms is not None and abs(self.live_ms - self.heard_ms) <= AGREE_MS


@dataclass(frozen=True, slots=True)
class CallAnalysis:
    """One call of the run; `problem` says why there is no analysis."""

    call_id: str
    analysis: Analysis | None
    pairs: tuple[Pair, ...]
    problem: str = ""


def is_run(path: Path) -> bool:
    """Tell whether `path` is a run's directory."""
    return path.is_dir() and (path / "calls.jsonl").is_file()


def analyse_run(
    run_dir: Path, settings: Settings, tell: Callable[[str], None] = lambda _: None
) -> tuple[StoredRun, list[CallAnalysis]]:
    """Analyse what `run_dir` holds. Raises ScenarioError where nothing was recorded."""
    run = read_run(run_dir)
    recorded = [call for call in run.calls if call.recording]
    if not recorded:
        raise ScenarioError(f"{run_dir}: no call was recorded; put `record: all` into the scenario")
    calls = []
    for index, call in enumerate(recorded):
        tell(f"call {index + 1} of {len(recorded)}: {call.call_id}")
        turns = sorted((t for t in run.turns if t.call_id == call.call_id), key=lambda t: (t.turn, t.attempt))
        try:
            analysis = analyse(read_recording([run_dir / str(call.recording)]), settings)
        except ScenarioError as error:
            calls.append(CallAnalysis(call.call_id, None, (), str(error)))
            continue
        spoken = [turn for turn in turns if turn.speech_ended_at_ns is not None]
        heard = analysis.conversation.turns
        pairs = tuple(Pair(turn, _same(index, turn, spoken, heard)) for index, turn in enumerate(spoken))
        calls.append(CallAnalysis(call.call_id, analysis, pairs))
    return run, calls


def _same(index: int, record: TurnRecord, records: list[TurnRecord], turns: tuple[Turn, ...]) -> Turn | None:
    """Return the turn of the recording that `record` is: by distance from the first, which both clocks share."""
    if not turns or record.speech_ended_at_ns is None or records[0].speech_ended_at_ns is None:
        return None
    if len(records) == len(turns):
        return turns[index]
    after_ms = (record.speech_ended_at_ns - records[0].speech_ended_at_ns) / 1e6
    nearest = min(turns, key=lambda turn: abs(turn.end_ms - turns[0].end_ms - after_ms))
    return nearest if abs(nearest.end_ms - turns[0].end_ms - after_ms) < 1_000 else None
