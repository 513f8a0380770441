"""One run as one worker hosts it: a Session, its records on their way to the master, and reports of how it goes."""

import logging
from typing import Any, Protocol

import gevent
from gevent.event import Event

from harness.exit_codes import ExitCode
from harness.load.cluster.clocks import Exchange, drift_ms
from harness.load.cluster.delivery import Outbox
from harness.load.cluster.messages import PING_INTERVAL_S, State
from harness.load.cluster.run_place import own_run_dir
from harness.load.options import RunOptions
from harness.load.retarget import retarget
from harness.load.schedule import Schedule
from harness.load.session import Session
from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from harness.scenario.check import Prepared

logger = logging.getLogger(__name__)

# Records wait this long for company; a worker that is killed takes no more than this with it.
FLUSH_INTERVAL_S = 0.1


class Home(Protocol):
    """What a part needs of its worker."""

    # Locust's Environment.
    environment: Any
    options: RunOptions
    part: "Part | None"
    shares_clock: bool
    is_leaving: bool

    def send(self, kind: str, **fields: Any) -> bool:
        """Send one message to the master; False when it could not even be queued."""

    def count_request(self, kind: str, row: dict[str, Any]) -> None:
        """Show a record in Locust's own tables."""

    def ask_clock(self) -> Exchange | None:
        """Ask the master's clock some times; return the best answer, None when there was none in time."""


class Part:
    """This worker's part of one run."""

    def __init__(self, worker: Home, prepared: Prepared, message: dict[str, Any]) -> None:
        """`message` is the master's `begin`."""
        self.run: int = message["run"]
        self.name: str = message["name"]
        self.outbox = Outbox()
        self._worker = worker
        self._run_dir, self._is_shared_dir = own_run_dir(message, worker.options.run_dir)
        prepared = retarget(prepared, message["url"])
        schedule = Schedule(prepared, message["index"], message["count"])
        self.session = Session(prepared, self._run_dir, self.name, schedule, self._deliver)
        self._state = State.STARTING
        self._started_ns: int | None = None
        self._offset: Exchange | None = None
        self._drift_ms: float | None = None
        self._ended_because: str | None = None
        self._own_end: tuple[str, str] | None = None
        self._delivered = Event()

    def start(self) -> None:
        """Start the engine, beside everything else."""
        gevent.spawn(self._start)
        gevent.spawn(self._report_on)
        gevent.spawn(self._flush_on)

    def _start(self) -> None:
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.session.end_early("engine_died", f"cannot create {self._run_dir}: {error.strerror}")
            return
        if not self.session.start_engine():
            return
        if not self._worker.shares_clock:
            self._offset = self._worker.ask_clock()
            if self._offset is None:
                self.session.end_early("engine_died", "the master's clock could not be asked")
                return
        self._state = State.READY
        self._report()

    def take(self, message: dict[str, Any]) -> None:
        """Follow a word of the master about this run."""
        kind = message["t"]
        if kind == "ack":
            self.outbox.acknowledge(message["next"], monotonic_ns())
        elif kind == "go" and self._state is State.READY:
            self._go(message["start_ns"])
        elif kind == "no_more":
            self.session.place_no_more()
        elif kind == "fault":
            self.session.begin_fault(message["fault"])
        elif kind == "end_fault":
            self.session.end_fault(message["name"])
        elif kind == "end":
            gevent.spawn(self.end, message["status"], message["why"])

    def _go(self, start_ns: int) -> None:
        # The offset is the master's clock minus ours.
        self._started_ns = start_ns - (self._offset.offset_ns if self._offset is not None else 0)
        self._state = State.RUNNING
        self.session.begin(self._started_ns)
        self._report()

    def end(self, status: str, why: str) -> None:
        """End every call and the engine; returns when both are gone. Again is harmless."""
        if self._ended_because is None:
            self._ended_because = why
            if status == "stopped":
                self._own_end = (status, why)
            if status != "finished" and not self.session.is_ending:
                self.session.end_early(status, why)
        self.session.finish()
        # Nobody stays for a call: Locust may take its users and be ready for the next run at once.
        self._worker.environment.stop_timeout = 0.0

    def wait_until_delivered(self, timeout_s: float) -> bool:
        """Wait until the master has every record and has been told so."""
        return bool(self._delivered.wait(timeout_s))

    @property
    def exit_code(self) -> ExitCode:
        """What the process exits with after this run."""
        return ExitCode.VOID if self.session.status == "engine_died" else ExitCode.PASSED

    # Records.

    def _deliver(self, kind: str, row: dict[str, Any]) -> None:
        if kind == "turn":
            # Says whose clock its times are on.
            row["worker"] = self.name
        self._worker.count_request(kind, row)
        self.outbox.add(kind, row)

    def _flush_on(self) -> None:
        while self._worker.part is self:
            while (batch := self.outbox.take(monotonic_ns())) is not None:
                if not self._worker.send("batch", run=self.run, first=batch.first, rows=batch.rows):
                    break
            gevent.sleep(FLUSH_INTERVAL_S)

    # Reports.

    def _report_on(self) -> None:
        told_ns = 0
        while self._worker.part is self:
            before = self._state
            self._advance()
            if self._state is not before or monotonic_ns() - told_ns > PING_INTERVAL_S * NS_PER_S:
                told_ns = monotonic_ns()
                self._report()
            if self._state is State.DONE and not self.outbox.pending:
                self._delivered.set()
            gevent.sleep(FLUSH_INTERVAL_S)

    def _advance(self) -> None:
        if self.session.finished.is_set():
            if self._state is not State.DONE and self._offset is not None and not self._worker.is_leaving:
                last = self._worker.ask_clock()
                self._drift_ms = None if last is None else drift_ms(self._offset, last)
            self._state = State.DONE
        elif self._state is State.RUNNING and self.session.is_over:
            self._state = State.OVER

    def _report(self) -> None:
        session = self.session
        status, notes = session.status, [note for note in session.notes if note != self._ended_because]
        if self._own_end is not None:
            status, notes = self._own_end[0], [self._own_end[1], *notes]
        self._worker.send(
            "report",
            run=self.run,
            state=self._state.value,
            status=status,
            notes=notes,
            n_rows=self.outbox.n_added,
            started_ns=self._started_ns,
            error_ms=0.0 if self._offset is None else self._offset.error_ns / NS_PER_MS,
            drift_ms=self._drift_ms,
            run_dir=None if self._is_shared_dir else str(self._run_dir.resolve()),
        )
