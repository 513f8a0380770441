"""The workers of a run as run.json tells of them: what became of each, and whose clock its times are on."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.model.codec import from_json
from harness.model.errors import ScenarioError
from harness.model.records import CallRecord, HealthSample, Outcome, TurnRecord
from harness.report.record_lines import check_fields

T = TypeVar("T", CallRecord, TurnRecord, HealthSample)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker. How many calls it was to place is None where nothing fixed that."""

    name: str
    host: str
    pid: int
    # False when its CLOCK_MONOTONIC is another than the master's, as on another machine.
    shares_clock: bool
    # The first due time of the run on its own clock; None when it never began.
    started_monotonic_ns: int | None
    # How far off that may be, and how far its clock went from the master's during the run.
    clock_error_ms: float
    clock_drift_ms: float | None
    status: str
    # Why it did not come to its planned end, None when it did.
    end: str | None
    calls_planned: int | None
    # Of its share, for no wish of the operator; None where that cannot be told.
    calls_never_placed: int | None
    # Where its engine's log and recordings lie when not beside the records.
    run_dir: str | None
    # Counted in the records, with those lost among them.
    calls_recorded: int = 0
    calls_lost: int = 0

    @property
    def title(self) -> str:
        """Return its name and where it ran."""
        return f"{self.name} on {self.host} (pid {self.pid})"

    @property
    def fault(self) -> str | None:
        """Return what its end took from the run, None when that was nothing."""
        if self.end is None or not (self.calls_lost or self.calls_never_placed or self.calls_planned is None):
            return None
        unplaced = self.calls_never_placed
        rest = "" if unplaced is None else f", calls of its share never placed: {unplaced}"
        return f"{self.title} did not come to its end: {self.end}; calls lost with it: {self.calls_lost}{rest}"


def read_workers(raw: Any, path: Path) -> tuple[WorkerInfo, ...]:
    """Read run.json's list of workers, none in a run of one process; raises ScenarioError naming the one at fault."""
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise ScenarioError(f"{path}: workers: expected a list, got {raw!r:.60}")
    return tuple(_read(each, f"{path}: workers[{index}]") for index, each in enumerate(raw))


def _read(raw: Any, where: str) -> WorkerInfo:
    try:
        info = from_json(WorkerInfo, raw)
        check_fields(info)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{where}: {error}") from None
    return info


def with_counts(workers: Iterable[WorkerInfo], calls: Sequence[CallRecord]) -> tuple[WorkerInfo, ...]:
    """Return the workers with their calls counted."""
    recorded = Counter(call.worker for call in calls)
    lost = Counter(call.worker for call in calls if call.outcome is Outcome.LOST)
    return tuple(dataclasses.replace(w, calls_recorded=recorded[w.name], calls_lost=lost[w.name]) for w in workers)


def faults_of(workers: Iterable[WorkerInfo]) -> list[str]:
    """Return why the run is void, a sentence for each worker that took calls with it."""
    return [f"{fault}; see its engine's log, then run again" for worker in workers if (fault := worker.fault)]


def notes_of_workers(workers: Sequence[WorkerInfo]) -> list[str]:
    """Return what a reader must know of workers beside the numbers."""
    notes = [
        f"{w.title} did not come to its end, but nothing of its share was missing: {w.end}."
        for w in workers
        if w.end is not None and w.fault is None
    ]
    for worker in workers:
        if not worker.shares_clock and worker.started_monotonic_ns is not None:
            drift = worker.clock_drift_ms
            went = "drift not measured" if drift is None else f"drift during the run {drift:+.2f} ms"
            notes.append(
                f"{worker.title} has a clock of its own: durations are measured on it alone; its times stand beside "
                f"those of others by the common start, right to {worker.clock_error_ms:.2f} ms ({went})."
            )
        if worker.run_dir is not None:
            notes.append(f"The engine's log and the recordings of {worker.title} lie there, in {worker.run_dir}.")
    return notes


def shifts_of(workers: Iterable[WorkerInfo], first_due_ns: int | None) -> dict[str, int]:
    """Return, by worker with a clock of its own, what puts its times on the master's axis: start upon start."""
    return {
        w.name: first_due_ns - w.started_monotonic_ns
        for w in workers
        if first_due_ns is not None and w.started_monotonic_ns is not None and not w.shares_clock
    }


def on_one_axis(records: list[T], shifts: Mapping[str, int], worker_of: Mapping[str, str]) -> list[T]:
    """Return records with the times of foreign clocks moved; `worker_of` names a turn's worker by its call.

    What is measured within one record, or between records of one worker, does not change.
    """
    if not shifts:
        return records
    return [_moved(record, shifts.get(_worker(record, worker_of), 0)) for record in records]


def _worker(record: CallRecord | TurnRecord | HealthSample, worker_of: Mapping[str, str]) -> str:
    if isinstance(record, TurnRecord):
        return record.worker or worker_of.get(record.call_id, "")
    return record.worker


def _moved(record: T, shift_ns: int) -> T:
    if not shift_ns:
        return record
    times = {
        f.name: getattr(record, f.name) + shift_ns
        for f in dataclasses.fields(record)
        if f.name.endswith("at_ns") and getattr(record, f.name) is not None
    }
    return dataclasses.replace(record, **times)
