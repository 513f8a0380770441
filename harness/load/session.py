"""One run inside Locust: an engine, a schedule, the files of a run, and the reasons to end early.

Threads of it are greenlets: users take calls and wait for them; the engine's reader delivers records; the shape asks
`is_over`. `start` and `finish` are the only ways in and out, and `finish` may come from any side, more than once.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from harness.load.engine_client import EngineClient
from harness.load.schedule import Schedule
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.errors import CallquakeError
from harness.model.records import Cause, Outcome
from harness.scenario.check import Prepared

logger = logging.getLogger(__name__)

# From "engine ready" to the first due time: what Locust needs to have its first users waiting.
LEAD_S = 1.0
# A plan is handed to the engine this long before it is due; the engine keeps the time.
AHEAD_S = 1.0
# So many calls in a row that could not even reach the target end a run.
UNREACHABLE_IN_A_ROW = 10

Deliver = Callable[[str, dict[str, Any]], None]


class Session:
    """One run. `deliver` gets every record as JSON and takes it to the writer, here or on the master."""

    def __init__(self, prepared: Prepared, run_dir: Path, worker: str, schedule: Schedule, deliver: Deliver) -> None:
        self.prepared, self.run_dir, self.schedule = prepared, run_dir, schedule
        self.ready, self.finished = Event(), Event()
        self.status = "finished"
        self.notes: list[str] = []
        self.started_ns = monotonic_ns()
        self._deliver = deliver
        self._is_finishing = False
        self._unreachable = 0
        self._taken = 0
        self._ends_early = False
        self.engine = EngineClient(worker, run_dir, prepared.corpus.directory, self._on_message, self._on_engine_death)

    def start(self) -> None:
        """Start the engine, then the clock of the schedule. An engine that does not start ends the run."""
        try:
            self.engine.start()
        except CallquakeError as error:
            self.end_early("engine_died", f"the engine did not start: {error}")
        else:
            self.started_ns = monotonic_ns() + round(LEAD_S * NS_PER_S)
            self.schedule.start(self.started_ns)
        self.ready.set()

    def make_call(self) -> bool:
        """Make the next call from due time to end; False when there is none for this user."""
        self.ready.wait()
        call = self.schedule.take()
        if call is None:
            return False
        self._taken += 1
        try:
            if call.due_at_ns is not None:
                gevent.sleep(max(0.0, (call.due_at_ns - monotonic_ns()) / NS_PER_S - AHEAD_S))
            if self.is_ending:
                return False
            ended = self.engine.place(call.plan, call.due_at_ns)
        finally:
            self._taken -= 1
        try:
            ended.get()
        except gevent.GreenletExit:
            # Locust took this user away: its caller hangs up.
            self.engine.hang_up(call.plan.call_id)
            raise
        return True

    def end_early(self, status: str, note: str) -> None:
        """Place no more calls and end those in progress; the first reason is the run's status."""
        if self._ends_early or self._is_finishing:
            return
        self._ends_early, self.status = True, status
        self.notes.append(note)
        logger.warning("%s: %s", status, note)
        self.schedule.close()
        gevent.spawn(self.finish)

    def finish(self) -> None:
        """End every call and the engine; returns when both are gone."""
        if self._is_finishing:
            self.finished.wait()
            return
        self._is_finishing = True
        self.schedule.close()
        active = self.active
        if active and not self._ends_early:
            self.notes.append(f"{active} calls were still in progress when the run ended and were hung up")
        if not self.engine.stop():
            self.notes.append("the engine did not stop when asked and was killed")
        self.finished.set()

    @property
    def active(self) -> int:
        """Calls begun and not ended."""
        now_ns = monotonic_ns()
        calls = self.engine.open_calls.values()
        return sum(c.due_at_ns is None or c.due_at_ns <= now_ns for c in calls)

    @property
    def is_ending(self) -> bool:
        """True when the run is ending: calls that were taken and not placed stay unplaced."""
        return self._is_finishing or self._ends_early

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first instant at which a call could be due."""
        return max(0.0, (monotonic_ns() - self.started_ns) / NS_PER_S)

    @property
    def is_over(self) -> bool:
        """True when there is nothing left to wait for."""
        if self._ends_early:
            return True
        return self.ready.is_set() and self.schedule.is_exhausted and not (self._taken or self.engine.open_calls)

    def _on_message(self, kind: str, row: dict[str, Any]) -> None:
        self._deliver(kind, row)
        if kind == "call":
            self._watch_target(row)

    def _watch_target(self, row: dict[str, Any]) -> None:
        if row["outcome"] == Outcome.FAILED and row["cause"] == Cause.SIGNALLING_UNREACHABLE:
            self._unreachable += 1
        elif row["connected_at_ns"] is not None or row["outcome"] == Outcome.FAILED:
            self._unreachable = 0
        if self._unreachable >= UNREACHABLE_IN_A_ROW:
            note = (
                f"target_unreachable_mid_run: {self._unreachable} calls in a row could not reach {self.prepared.url}; "
                f"the last one: {row['detail']}"
            )
            self.end_early("target_unreachable", note)

    def _on_engine_death(self, why: str) -> None:
        self.end_early("engine_died", why)
