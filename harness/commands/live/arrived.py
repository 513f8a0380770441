"""What has reached the disk of a run that still goes on: its record files, read as they grow, the recent part kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.measure.calls import Expects
from harness.measure.generator_health import HealthPoint
from harness.measure.target_series import Series, series_of
from harness.measure.wer import ScoredTurn, WerResult, score
from harness.measure.windows import Window
from harness.model.codec import from_json
from harness.model.records import CallRecord, HealthSample, TurnRecord
from harness.model.target_sample import TargetSample

T = TypeVar("T")


class Tail(Generic[T]):
    """The lines of one record file that have not been read yet."""

    def __init__(self, path: Path, cls: type[T]) -> None:
        self._path = path
        self._cls: type[T] = cls
        self._offset = 0

    def new(self) -> list[T]:
        """Return the records of the whole lines that came since; what cannot be read is left to the report."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [record for line in whole.splitlines() if (record := self._read(line)) is not None]

    def _read(self, line: bytes) -> T | None:
        try:
            return from_json(self._cls, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Arrived:
    """What readings are taken from (verdict/readings.py), of the recent part of a run."""

    calls: Sequence[CallRecord]
    turns: Sequence[TurnRecord]
    wer: WerResult
    expects_greeting: Expects
    target_series: Series
    windows: Sequence[Window] = ()


@dataclass(slots=True)
class Arrivals:
    """Reads a run directory again and again; keeps what is not older than `keep_ns` before the newest."""

    run_dir: Path
    keep_ns: float
    expects_greeting: Expects = None
    target_info: Mapping[str, Any] | None = None
    _calls: list[CallRecord] = field(default_factory=list)
    _turns: list[TurnRecord] = field(default_factory=list)
    _scored: list[ScoredTurn] = field(default_factory=list)
    _health: list[HealthPoint] = field(default_factory=list)
    _target: list[TargetSample] = field(default_factory=list)
    _tails: "_Tails | None" = None

    def read(self) -> Arrived:
        """Return what there is now."""
        if self._tails is None:
            self._tails = _Tails(self.run_dir)
        tails = self._tails
        self._calls += tails.calls.new()
        turns = tails.turns.new()
        self._turns += turns
        # Without a transcript nobody knows yet whether one will come; the report does.
        self._scored += score(t for t in turns if t.hypothesis is not None and t.speech_ended_at_ns is not None)
        self._health += [HealthPoint(h.worker, h.at_ns, h.calls_active, None, h.cpu_ratio) for h in tails.health.new()]
        self._target += tails.target.new()
        self._forget()
        series = series_of(self._target, self._health, self.target_info)
        wer = WerResult(None, "", scored=self._scored)
        return Arrived(self._calls, self._turns, wer, self.expects_greeting, series)

    def _forget(self) -> None:
        newest = max(
            [*(c.ended_at_ns for c in self._calls[-50:]), *(_at(t) for t in self._turns[-50:]), 0],
        )
        since = newest - self.keep_ns
        self._calls = _after(self._calls, since, lambda call: call.ended_at_ns)
        self._turns = _after(self._turns, since, _at)
        self._scored = _after(self._scored, since, lambda one: _at(one.turn))
        self._health = _after(self._health, since, lambda point: point.at_ns)
        self._target = _after(self._target, since, lambda sample: sample.at_ns)


class _Tails:
    def __init__(self, run_dir: Path) -> None:
        self.calls = Tail(run_dir / "calls.jsonl", CallRecord)
        self.turns = Tail(run_dir / "turns.jsonl", TurnRecord)
        self.health = Tail(run_dir / "health.jsonl", HealthSample)
        self.target = Tail(run_dir / "target.jsonl", TargetSample)


U = TypeVar("U")


def _after(items: list[U], since_ns: float, at: Callable[[U], int]) -> list[U]:
    return [item for item in items if at(item) >= since_ns]


def _at(turn: TurnRecord) -> int:
    return turn.speech_started_at_ns if turn.speech_ended_at_ns is None else turn.speech_ended_at_ns
