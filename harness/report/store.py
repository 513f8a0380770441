"""A run's directory, read back: run.json and the record files, as whole as the run left them.

A run that was killed leaves a torn last line; it is left out and a note says so. The same holds for any line that
cannot be read: reports are made from what is there, and say what is not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from harness.model.codec import from_json
from harness.model.errors import ScenarioError
from harness.model.records import CallRecord, HealthSample, TurnRecord
from harness.verdict.verdict import RunStatus

T = TypeVar("T", CallRecord, TurnRecord, HealthSample)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """run.json; every field but the scenario may be missing in a run that died young."""

    run_id: str
    status: RunStatus
    scenario: Mapping[str, Any]
    scenario_path: str
    seed: int
    target: Mapping[str, Any]
    target_info: Mapping[str, Any] | None
    started_at: datetime | None
    ended_at: datetime | None
    started_monotonic_ns: int | None
    corpus: Any
    versions: Mapping[str, Any]
    host: Any
    argv: tuple[str, ...]
    # What was simulated instead of run for real, in words.
    simulated: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def scenario_name(self) -> str:
        """Return the scenario's name, or its file's."""
        return str(self.scenario.get("name") or Path(self.scenario_path or "unnamed").stem)

    @property
    def duration_s(self) -> float | None:
        """Return the run's length, None when its end was not written."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it lies on disk; `notes` tell what could not be read."""

    directory: Path
    info: RunInfo
    calls: list[CallRecord]
    turns: list[TurnRecord]
    health: list[HealthSample]
    notes: list[str] = field(default_factory=list)


def read_run(run_dir: Path) -> StoredRun:
    """Read `run_dir`; raises ScenarioError when it holds no readable run.json."""
    info = read_info(run_dir / "run.json")
    notes: list[str] = []
    return StoredRun(
        directory=run_dir,
        info=info,
        calls=_read_records(run_dir / "calls.jsonl", CallRecord, notes),
        turns=_read_records(run_dir / "turns.jsonl", TurnRecord, notes),
        health=_read_records(run_dir / "health.jsonl", HealthSample, notes),
        notes=notes,
    )


def read_info(path: Path) -> RunInfo:
    """Read run.json; raises ScenarioError naming the file and what is wrong with it."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScenarioError(f"{path}: not found, so {path.parent} is not the directory of a run") from None
    except ValueError as error:
        raise ScenarioError(f"{path}: not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path}: expected an object")
    return RunInfo(
        run_id=str(raw.get("run_id") or path.parent.name),
        status=_status(raw.get("status", "running"), path),
        scenario=_mapping(raw.get("scenario")) or {},
        scenario_path=str(raw.get("scenario_path") or ""),
        seed=int(raw.get("seed") or 0),
        target=_mapping(raw.get("target")) or {},
        target_info=_mapping(raw.get("target_info")),
        started_at=_time(raw.get("started_at")),
        ended_at=_time(raw.get("ended_at")),
        started_monotonic_ns=raw.get("started_monotonic_ns"),
        corpus=raw.get("corpus"),
        versions=_mapping(raw.get("versions")) or {},
        host=raw.get("host"),
        argv=tuple(map(str, raw.get("argv") or ())),
        simulated=_words(raw.get("simulated")),
        notes=_words(raw.get("notes")),
    )


def _status(raw: Any, path: Path) -> RunStatus:
    try:
        return RunStatus(raw)
    except ValueError:
        raise ScenarioError(f"{path}: status {raw!r}; legal: {', '.join(RunStatus)}") from None


def _mapping(raw: Any) -> Mapping[str, Any] | None:
    return raw if isinstance(raw, dict) else None


def _time(raw: Any) -> datetime | None:
    return datetime.fromisoformat(raw) if isinstance(raw, str) else None


def _words(raw: Any) -> tuple[str, ...]:
    """Return a list of sentences from a list, an object of them, one sentence, or nothing."""
    if not raw or raw is True:
        return ("parts of this run were simulated",) if raw else ()
    if isinstance(raw, dict):
        return tuple(f"{key}: {value}" for key, value in raw.items() if value)
    return tuple(map(str, raw)) if isinstance(raw, list) else (str(raw),)


def _read_records(path: Path, cls: type[T], notes: list[str]) -> list[T]:
    if not path.exists():
        return []
    records: list[T] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(from_json(cls, json.loads(line)))
        except (ValueError, TypeError) as error:
            torn = number == len(lines)
            why = "the last line is torn: the run was killed while writing it" if torn else str(error)
            notes.append(f"{path.name}, line {number} was left out: {why}")
    return records
