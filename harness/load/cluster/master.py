"""A run over several workers, on the master: what a Session is to one process, a Cluster is to many.

Workers start their engines, tell that they are ready, and get one common start. Each then makes its own share of the
calls with no further word from here. A worker that dies loses the calls it held and the rest of its share; the others
go on. The run's end waits, within bounds, for every record of every living worker.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from harness.load.cluster.member import Member, Receive
from harness.load.cluster.messages import PING_INTERVAL_S, State
from harness.load.cluster.seats import Seat, Seats
from harness.load.cluster.share import Share
from harness.load.engine_client import READY_TIMEOUT_S, STOP_TIMEOUT_S
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.errors import ScenarioError
from harness.scenario.check import Prepared

logger = logging.getLogger(__name__)

# From the start signal to the first due time: the signal's way, and the second by which calls are handed over ahead.
LEAD_S = 1.5
FIT_TIMEOUT_S = 60.0
# An engine that compiles its media loop for the first time takes its time; see EngineClient.
START_TIMEOUT_S = READY_TIMEOUT_S + 15.0
# For the engines to hang up their calls, and for the last records to arrive.
DRAIN_TIMEOUT_S = STOP_TIMEOUT_S + 30.0
_POLL_S = 0.05


class Cluster:
    """One run of several workers."""

    def __init__(self, seats: Seats, prepared: Prepared, number: int, receive: Receive) -> None:
        """Prepare run `number` of this master; `receive` takes every record and milestone."""
        self.ready, self.finished = Event(), Event()
        self.status = "finished"
        self.notes: list[str] = []
        self.members: list[Member] = []
        self.started_ns = monotonic_ns()
        self._seats, self._prepared, self._number, self._receive = seats, prepared, number, receive
        self._by_client: dict[str, Member] = {}
        self._ends_early = self._is_finishing = self._places_no_more = False
        self._saved: Callable[[], None] = lambda: None

    # The way in.

    def gather(self, expected: int) -> None:
        """Wait until the workers are fit for the run; raises ScenarioError naming one that cannot take part."""
        deadline_ns = monotonic_ns() + round(FIT_TIMEOUT_S * NS_PER_S)
        while True:
            living = self._seats.living
            unfit = [f"{seat} cannot take part: {seat.unfit}" for seat in living if seat.unfit is not None]
            if unfit:
                raise ScenarioError("\n".join(unfit))
            if len(living) >= max(1, expected) and all(seat.is_fit for seat in living):
                break
            if monotonic_ns() > deadline_ns:
                fit = sum(seat.is_fit for seat in living)
                raise ScenarioError(
                    f"{fit} of {max(1, expected)} workers were fit for the run within {FIT_TIMEOUT_S:g} s; "
                    "start the others (callquake run --worker --master-host HOST), or expect fewer"
                )
            gevent.sleep(_POLL_S)
        for index, seat in enumerate(living):
            share = Share(self._prepared, index, len(living))
            self._by_client[seat.client_id] = Member(seat, f"worker-{index}", share, self._receive)
        self.members = list(self._by_client.values())

    def start(self, run_id: str, run_dir: Path, saved: Callable[[], None]) -> None:
        """Have the engines started, then give the common start. `saved` is called when what `describe` says changes."""
        self._saved = saved
        for member in self.members:
            self._send(
                member,
                "begin",
                run_id=run_id,
                run_dir=str(run_dir.resolve()),
                name=member.name,
                index=member.share.index,
                count=member.share.count,
                url=self._prepared.url,
            )
        if not self._await_engines():
            return
        self.started_ns = monotonic_ns() + round(LEAD_S * NS_PER_S)
        for member in self.members:
            self._send(member, "go", start_ns=self.started_ns)
        self.ready.set()
        saved()

    def _await_engines(self) -> bool:
        deadline_ns = monotonic_ns() + round(START_TIMEOUT_S * NS_PER_S)
        while not self._ends_early:
            late = [m for m in self.members if m.state is State.STARTING or m.end is not None]
            if not late:
                return True
            failed = next((m for m in late if m.end is not None), None)
            if failed is not None:
                why = failed.notes[0] if failed.notes else failed.end
                self.end_early("engine_died", f"{failed.name} on {failed.seat.host} did not start: {why}")
            elif monotonic_ns() > deadline_ns:
                who = f"{late[0].name} on {late[0].seat.host}"
                self.end_early("engine_died", f"{who}: its engine was not ready within {START_TIMEOUT_S:g} s")
            gevent.sleep(_POLL_S)
        self.ready.set()
        return False

    # The way out.

    def end_early(self, status: str, note: str) -> None:
        """Place no more calls and end those in progress; the first reason is the run's status."""
        if self._ends_early or self._is_finishing:
            return
        self._ends_early, self.status = True, status
        self.notes.append(note)
        logger.warning("%s: %s", status, note)
        gevent.spawn(self.finish)

    def finish(self) -> None:
        """End every call and engine; returns when the last record of every living worker is here, or is given up."""
        if self._is_finishing:
            self.finished.wait()
            return
        self._is_finishing = True
        for member in self.members:
            self._send(member, "end", status=self.status, why="the run was ended by its master")
        self._drain()
        self._settle()
        self.finished.set()

    def _drain(self) -> None:
        deadline_ns = monotonic_ns() + round(DRAIN_TIMEOUT_S * NS_PER_S)
        asked_ns = monotonic_ns()
        while missing := [member for member in self.members if not member.is_done]:
            now_ns = monotonic_ns()
            if now_ns > deadline_ns:
                for member in missing:
                    self._give_up(member)
                return
            if now_ns - asked_ns > PING_INTERVAL_S * NS_PER_S:
                asked_ns = now_ns
                for member in missing:
                    self._send(member, "end", status=self.status, why="the run was ended by its master")
            gevent.sleep(_POLL_S)

    def _give_up(self, member: Member) -> None:
        there, told = member.inbox.awaited, member.n_rows
        why = f"did not deliver its last records within {DRAIN_TIMEOUT_S:g} s ({there} of at least {told} are here)"
        self._seats.drop(member.seat, why)

    def _settle(self) -> None:
        """Take over the status that all workers have come to by themselves."""
        statuses = {member.status for member in self.members}
        if self.status == "finished" and statuses == {"target_unreachable"}:
            self.status = "target_unreachable"
        elif self.status == "finished" and any(member.end is not None for member in self.members):
            self.status = "worker_lost"
        for member in self.members:
            self.notes += [note if member.name in note else f"{member.name}: {note}" for note in member.notes]

    def place_no_more(self) -> None:
        """Let the calls in progress end and begin none."""
        if not self._places_no_more:
            self._places_no_more = True
            for member in self.members:
                self._send(member, "no_more")

    def begin_fault(self, fault: dict[str, Any]) -> None:
        """Have every worker's engine put a fault, as JSON, on its calls."""
        for member in self.members:
            self._send(member, "fault", fault=fault)

    def end_fault(self, name: str) -> None:
        """Have every worker's engine let go of a fault."""
        for member in self.members:
            self._send(member, "end_fault", name=name)

    @property
    def engines(self) -> list[str]:
        """Whose word on a fault is awaited: the workers that are there."""
        there = () if self.is_ending or not self.ready.is_set() else self.members
        return [member.name for member in there if member.end is None and not member.is_over]

    # What the run is asked.

    @property
    def active(self) -> int:
        """Calls begun and not ended, as far as records have come."""
        return sum(member.share.n_active(self.elapsed_s * 1000) for member in self.members)

    @property
    def is_ending(self) -> bool:
        """True when the run is ending."""
        return self._is_finishing or self._ends_early

    @property
    def is_done(self) -> bool:
        """True when every worker has come to an end of its own, or is gone."""
        return bool(self.members) and all(member.is_over for member in self.members)

    @property
    def is_over(self) -> bool:
        """True when there is nothing left to wait for."""
        return self._ends_early or (self.ready.is_set() and self.is_done)

    @property
    def is_deserted(self) -> bool:
        """True when no worker has been heard for so long that Locust, too, has missed them all."""
        limit_ns = monotonic_ns() - round(3 * PING_INTERVAL_S * NS_PER_S)
        return bool(self.members) and all(m.is_gone or m.seat.heard_at_ns < limit_ns for m in self.members)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first instant at which a call could be due."""
        return max(0.0, (monotonic_ns() - self.started_ns) / NS_PER_S)

    @property
    def n_workers(self) -> int:
        """Workers with a share of the run."""
        return len(self.members)

    @property
    def n_gone(self) -> int:
        """Workers that have come to no planned end."""
        return sum(member.end is not None for member in self.members)

    @property
    def engine_pids(self) -> list[int]:
        """None of the engines is ours."""
        return []

    def describe(self) -> list[dict[str, Any]]:
        """Return run.json's list of workers."""
        came_to_its_end = self.finished.is_set() and self.status in {"finished", "worker_lost", "target_unreachable"}
        is_counted = came_to_its_end and not self._places_no_more
        return [member.describe(is_counted or member.end is not None) for member in self.members]

    # The workers' words.

    def take(self, seat: Seat, message: dict[str, Any]) -> None:
        """Follow a worker's word of this run; one of another run is left alone."""
        member = self._by_client.get(seat.client_id)
        if member is None or message.get("run") != self._number or self.finished.is_set():
            return
        if message["t"] == "batch":
            awaited = member.take_batch(message["first"], message["rows"])
            self._send(member, "ack", next=awaited)
        elif message["t"] == "report":
            member.take_report(message)
            self._repeat(member)

    def _repeat(self, member: Member) -> None:
        """Say again what a worker has not followed: a message may be lost, and all of them are safe to say twice."""
        if self.ready.is_set() and member.state is State.READY and not self.is_ending:
            self._send(member, "go", start_ns=self.started_ns)
        if self._places_no_more and member.state is State.RUNNING:
            self._send(member, "no_more")

    def lose(self, seat: Seat) -> None:
        """Take a worker's calls for lost: it is gone."""
        member = self._by_client.get(seat.client_id)
        if member is None or member.is_done or self.finished.is_set():
            return
        # It lived until it was last heard, and at most until its next word was due.
        died_at_ns = min(monotonic_ns(), seat.heard_at_ns + round(PING_INTERVAL_S * NS_PER_S))
        on_its_clock_ns = None
        if member.started_ns is not None and self.ready.is_set():
            on_its_clock_ns = member.started_ns + (died_at_ns - self.started_ns)
        logger.warning("%s on %s is gone: %s", member.name, seat.host, seat.end)
        member.die(seat.end or "it is gone", on_its_clock_ns)
        self._saved()

    def _send(self, member: Member, kind: str, **fields: Any) -> None:
        if member.seat.end is None:
            self._seats.send(member.seat, kind, run=self._number, **fields)
