"""One run inside one Locust process: an engine, a schedule, the reasons to end early.

Threads of it are greenlets: in open loop one of them hands over every call ahead of its due time, whatever becomes of
the users; in closed loop a free user takes the next call. The engine's reader delivers records; the shape asks
`is_over`. `start` and `finish` are the only ways in and out, and `finish` may come from any side, more than once.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.queue import Queue

from harness.load.engine_client import EngineClient
from harness.load.schedule import NextCall, Schedule
from harness.load.target_watch import TargetWatch
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.errors import CallquakeError
from harness.scenario.check import Prepared
from harness.scenario.needs import needs_of

logger = logging.getLogger(__name__)

# From "engine ready" to the first due time: what Locust needs to have its first users waiting.
LEAD_S = 1.0
# A plan is handed to the engine this long before it is due; the engine keeps the time.
AHEAD_S = 1.0
# So many calls in a row that found nobody at the target end a run.
UNREACHABLE_IN_A_ROW = 10

Deliver = Callable[[str, dict[str, Any]], None]


class Session:
    """One run. `deliver` gets every record as JSON and takes it to the writer, here or on the master."""

    def __init__(self, prepared: Prepared, run_dir: Path, worker: str, schedule: Schedule, deliver: Deliver) -> None:
        self.prepared, self.run_dir, self.schedule = prepared, run_dir, schedule
        self.ready, self.finished = Event(), Event()
        self.worker = worker
        self.status = "finished"
        self.notes: list[str] = []
        self.started_ns = monotonic_ns()
        self._deliver = deliver
        self._is_finishing = False
        self._watches = {name: TargetWatch(target.url) for name, target in prepared.targets.items()}
        self._taken = 0
        self._ends_early = False
        # Calls of an open loop that no user stands by yet; None when no more will come.
        self._unattended: Any = Queue()
        self.engine = EngineClient(worker, run_dir, prepared.corpus.directory, self._on_message, self._on_engine_death)

    def start(self) -> None:
        """Start the engine, then the clock of the schedule. An engine that does not start ends the run."""
        if self.start_engine():
            self.begin(monotonic_ns() + round(LEAD_S * NS_PER_S))

    def start_engine(self) -> bool:
        """Start the engine; one that does not start ends the run."""
        self.engine.needs = needs_of(self.prepared, self.schedule.worker_count)
        try:
            self.engine.start()
        except CallquakeError as error:
            self.end_early("engine_died", f"the engine did not start: {error}")
            self.ready.set()
            return False
        for warning in self.engine.warnings:
            logger.warning("headroom: %s", warning)
        return True

    def begin(self, start_ns: int) -> None:
        """Start the clock of the schedule: due times count from `start_ns`."""
        self.started_ns = start_ns
        self.schedule.start(start_ns)
        if self.schedule.is_open_loop:
            gevent.spawn(self._place_when_due)
        self.ready.set()

    def make_call(self) -> bool:
        """Stand by one call to its end; False when there is none for this user."""
        self.ready.wait()
        return self._attend_call() if self.schedule.is_open_loop else self._take_call()

    def _place_when_due(self) -> None:
        """Open loop: hand over each call ahead of its due time. No user, no earlier call can keep it waiting."""
        while (call := self._next_call()) is not None:
            try:
                gevent.sleep(max(0.0, ((call.due_at_ns or 0) - monotonic_ns()) / NS_PER_S - AHEAD_S))
                ended = None if self.is_ending else self._place(call)
            finally:
                self._taken -= 1
            if ended is None:
                break
            self._unattended.put(ended)
        self._unattended.put(None)

    def _attend_call(self) -> bool:
        ended = self._unattended.get()
        if ended is None:
            # For the next user that asks.
            self._unattended.put(None)
            return False
        ended.get()
        return True

    def _take_call(self) -> bool:
        call = self._next_call()
        if call is None:
            return False
        try:
            if self.is_ending:
                return False
            ended = self._place(call)
        finally:
            self._taken -= 1
        try:
            ended.get()
        except gevent.GreenletExit:
            # Locust took this user away: its caller hangs up.
            self.engine.hang_up(call.plan.call_id)
            raise
        return True

    def _next_call(self) -> NextCall | None:
        call = self.schedule.take()
        self._taken += call is not None
        return call

    def _place(self, call: NextCall) -> AsyncResult:
        plan = call.plan
        self._deliver("placed", {"call_id": plan.call_id, "index": plan.index, "at_ns": monotonic_ns()})
        return self.engine.place(plan, call.due_at_ns)

    def begin_fault(self, fault: dict[str, Any]) -> None:
        """Have the engine put a fault, as JSON, on its calls."""
        self.engine.begin_fault(fault)

    def end_fault(self, name: str) -> None:
        """Have the engine let go of a fault."""
        self.engine.end_fault(name)

    @property
    def engines(self) -> list[str]:
        """Whose word on a fault is awaited."""
        return [] if self.is_ending or not self.ready.is_set() else [self.worker]

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
        self._unattended.put(None)
        active = self.active
        if active and not self._ends_early:
            self.notes.append(f"{active} calls were still in progress when the run ended and were hung up")
        if not self.engine.stop():
            self.notes.append("the engine did not stop when asked and was killed")
        # Last: the first note says why a run ended.
        self.notes += [f"headroom: {warning}" for warning in self.engine.warnings]
        self.finished.set()

    def place_no_more(self) -> None:
        """Let the calls in progress end and begin none."""
        self.schedule.close()

    @property
    def engine_pids(self) -> list[int]:
        """Process numbers of the engines that this process has started."""
        return [] if self.engine.pid is None else [self.engine.pid]

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
        if kind == "fault_evidence":
            row = {**row, "worker": self.worker}
        self._deliver(kind, row)
        if kind == "call":
            self._watch_target(row)

    def _watch_target(self, row: dict[str, Any]) -> None:
        """End the run when nobody is at any target any more; of one of several that is gone, say so once."""
        watch = self._watches.get(row["target"])
        if watch is None or not watch.see(row) or watch.unreachable < UNREACHABLE_IN_A_ROW:
            return
        said = f"{watch.unreachable} calls in a row could not reach {watch.url}; the last one: {row['detail']}"
        if all(w.unreachable >= UNREACHABLE_IN_A_ROW for w in self._watches.values()):
            self.end_early("target_unreachable", f"target_unreachable_mid_run: {said}")
        elif watch.unreachable == UNREACHABLE_IN_A_ROW:
            self.notes.append(f"target {row['target']}: {said}")

    def _on_engine_death(self, why: str) -> None:
        self.end_early("engine_died", why)
