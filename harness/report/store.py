"""A run's directory, read back: run.json and the record files, as whole as the run left them.

A run that was killed leaves a torn last line; it is left out and a note says so. The same holds for any line that
cannot be read: reports are made from what is there, and say what is not. A run.json that cannot be read is
refused: without it nothing says what was run.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.measure.audit_rules import AuditRules
from harness.measure.calibration import Calibration
from harness.measure.injections import Injection, injections_of
from harness.model.audit_sample import AuditSample
from harness.model.codec import from_json
from harness.model.errors import ScenarioError
from harness.model.fault import FaultEvent
from harness.model.records import CallRecord, HealthSample, TurnRecord
from harness.model.target_sample import TargetSample
from harness.report.audit_words import read_rules
from harness.report.intelligibility import Intelligibility
from harness.report.intelligibility import read as read_intelligibility
from harness.report.record_lines import read_records
from harness.report.workers import WorkerInfo, on_one_axis, read_workers, shifts_of, with_counts
from harness.verdict.verdict import RunStatus


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """One of several targets: where it is, and what this machine was calibrated to for its calls."""

    name: str
    target: Mapping[str, Any]
    calibration: Calibration | None = None
    # What it says of itself; None = nothing.
    info: Mapping[str, Any] | None = None


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
    # What the machine was calibrated to when the run began; None = not, or the run says nothing readable of it.
    calibration: Calibration | None = None
    # Of a run over several workers; none in a run of one process.
    workers: tuple[WorkerInfo, ...] = ()
    # Of a run with several targets, in the scenario's order; none where there is one.
    targets: tuple[TargetInfo, ...] = ()
    # The run's common start on the master's clock.
    first_due_monotonic_ns: int | None = None
    # The text of the runbook it was held against; None = the one that ships.
    runbook: str | None = None

    @property
    def scenario_name(self) -> str:
        """Return the scenario's name, or its file's."""
        return str(self.scenario.get("name") or Path(self.scenario_path or "unnamed").stem)

    @property
    def locust_died(self) -> bool:
        """Whether what died under the run was Locust, and not an engine; only the notes tell."""
        return self.status is RunStatus.ENGINE_DIED and any("load generator (Locust)" in note for note in self.notes)

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
    # How well the agent's own speech was understood; None = not measured.
    intelligibility: Intelligibility | None = None
    # What was broken on purpose, in the order in which the run told of it.
    faults: list[Injection] = field(default_factory=list)
    # What the target told of itself while the run went.
    target_samples: list[TargetSample] = field(default_factory=list)
    # What the leak audit is held to, and what processes held; None = none was asked for.
    audit_rules: AuditRules | None = None
    audit_samples: list[AuditSample] = field(default_factory=list)


def read_run(run_dir: Path) -> StoredRun:
    """Read `run_dir`; raises ScenarioError when it holds no readable run.json, or a record file is none."""
    info = read_info(run_dir / "run.json")
    notes: list[str] = []
    calls = read_records(run_dir / "calls.jsonl", CallRecord, notes, lambda c: c.call_id)
    turns = read_records(run_dir / "turns.jsonl", TurnRecord, notes, lambda t: (t.call_id, t.turn, t.attempt))
    health = read_records(run_dir / "health.jsonl", HealthSample, notes)
    # On the master's clock already.
    faults = injections_of(read_records(run_dir / "faults.jsonl", FaultEvent, notes))
    shifts = shifts_of(info.workers, info.first_due_monotonic_ns)
    worker_of = {call.call_id: call.worker for call in calls}
    return StoredRun(
        directory=run_dir,
        info=dataclasses.replace(info, workers=with_counts(info.workers, calls)),
        calls=on_one_axis(calls, shifts, worker_of),
        turns=on_one_axis(turns, shifts, worker_of),
        health=on_one_axis(health, shifts, worker_of),
        notes=notes,
        intelligibility=read_intelligibility(run_dir, notes),
        faults=faults,
        target_samples=read_records(run_dir / "target.jsonl", TargetSample, notes),
        audit_rules=read_rules(run_dir, info.scenario, notes),
        audit_samples=read_records(run_dir / "audit.jsonl", AuditSample, notes),
    )


def read_info(path: Path) -> RunInfo:
    """Read run.json; raises ScenarioError naming the file and what is wrong with it."""
    raw = _object(path)
    return RunInfo(
        run_id=str(raw.get("run_id") or path.parent.name),
        status=_status(raw.get("status", "running"), path),
        scenario=_scenario(raw, path),
        scenario_path=str(raw.get("scenario_path") or ""),
        seed=_whole(raw, "seed", path) or 0,
        target=_mapping(raw.get("target")) or {},
        target_info=_mapping(raw.get("target_info")),
        started_at=_time(raw, "started_at", path),
        ended_at=_time(raw, "ended_at", path),
        started_monotonic_ns=_whole(raw, "started_monotonic_ns", path),
        corpus=raw.get("corpus"),
        versions=_mapping(raw.get("versions")) or {},
        host=raw.get("host"),
        argv=_words(raw.get("argv")),
        simulated=_words(raw.get("simulated")),
        notes=_words(raw.get("notes")),
        workers=read_workers(raw.get("workers"), path),
        first_due_monotonic_ns=_whole(raw, "first_due_monotonic_ns", path),
        calibration=_calibration(raw.get("calibration")),
        targets=_targets(raw.get("targets")),
        runbook=raw["runbook"] if isinstance(raw.get("runbook"), str) else None,
    )


def _targets(raw: Any) -> tuple[TargetInfo, ...]:
    told = ((str(name), _mapping(value) or {}) for name, value in (_mapping(raw) or {}).items())
    return tuple(
        TargetInfo(
            name,
            _mapping(value.get("target")) or {},
            _calibration(value.get("calibration")),
            _mapping(value.get("info")),
        )
        for name, value in told
    )


def _object(path: Path) -> dict[str, Any]:
    """Return what stands in `path`; it can be written as JSON again, so no report breaks on a part of it."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(raw, ensure_ascii=False, allow_nan=False).encode()
    except (FileNotFoundError, NotADirectoryError):
        raise ScenarioError(f"{path}: not found, so {path.parent} is not the directory of a run") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{path}: not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path}: expected an object")
    return raw


def _scenario(raw: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    scenario = _mapping(raw.get("scenario")) or {}
    if not isinstance(scenario.get("thresholds") or [], list):
        raise ScenarioError(f"{path}: scenario.thresholds: expected a list, got {scenario['thresholds']!r:.60}")
    return scenario


def _whole(raw: Mapping[str, Any], name: str, path: Path) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise ScenarioError(f"{path}: {name} {value!r:.60}; legal: a whole number from 0")
    return value


def _status(raw: Any, path: Path) -> RunStatus:
    try:
        return RunStatus(raw)
    except ValueError:
        raise ScenarioError(f"{path}: status {raw!r}; legal: {', '.join(RunStatus)}") from None


def _calibration(raw: Any) -> Calibration | None:
    try:
        return None if raw is None else from_json(Calibration, raw)
    except (TypeError, ValueError, AttributeError):
        return None


def _mapping(raw: Any) -> Mapping[str, Any] | None:
    return raw if isinstance(raw, dict) else None


def _time(raw: Mapping[str, Any], name: str, path: Path) -> datetime | None:
    value = raw.get(name)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ScenarioError(
            f"{path}: {name} {value!r:.60}; legal: an ISO 8601 time like 2026-01-31T12:00:00+00:00"
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _words(raw: Any) -> tuple[str, ...]:
    """Return a list of sentences from a list, an object of them, one sentence, or nothing."""
    if not raw or raw is True:
        return ("parts of this run were simulated",) if raw else ()
    if isinstance(raw, dict):
        return tuple(f"{key}: {value}" for key, value in raw.items() if value)
    return tuple(map(str, raw)) if isinstance(raw, list) else (str(raw),)
