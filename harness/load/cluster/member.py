"""One worker in one run, as the master follows it: its records in order, its share, its end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.load.cluster.delivery import Batch, Inbox, Row
from harness.load.cluster.messages import State
from harness.load.cluster.seats import Seat
from harness.load.cluster.share import Share
from harness.model.codec import to_json

Receive = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class Member:
    """A worker with a share of the run. `end` says why it did not come to its planned end, None when it did."""

    seat: Seat
    name: str
    share: Share
    receive: Receive
    inbox: Inbox = field(default_factory=Inbox)
    state: State = State.STARTING
    status: str = "finished"
    end: str | None = None
    notes: list[str] = field(default_factory=list)
    # Rows the worker had made when it last reported.
    n_rows: int = 0
    # The common start on the worker's clock; on the master's own where they share one.
    started_ns: int | None = None
    error_ms: float = 0.0
    drift_ms: float | None = None
    run_dir: str | None = None

    @property
    def is_gone(self) -> bool:
        """True when nothing more will come, whether all had come or not."""
        return self.end is not None and self.seat.end is not None

    @property
    def has_delivered(self) -> bool:
        """True when every row it has told of is here."""
        return self.inbox.awaited >= self.n_rows

    @property
    def is_over(self) -> bool:
        """True when there is nothing left to wait for."""
        return self.is_gone or (self.state in {State.OVER, State.DONE} and self.has_delivered)

    @property
    def is_done(self) -> bool:
        """True when its engine has gone and its last record is here, or it is gone itself."""
        return self.is_gone or (self.state is State.DONE and self.has_delivered)

    def take_batch(self, first: int, rows: list[Row]) -> int:
        """Receive numbered rows; return the number that is awaited next."""
        for kind, row in self.inbox.take(Batch(first, rows)):
            self.share.take(kind, row)
            self.receive(kind, row)
        return self.inbox.awaited

    def take_report(self, report: dict[str, Any]) -> None:
        """Follow what the worker says of itself."""
        self.state, self.n_rows = State(report["state"]), report["n_rows"]
        self.started_ns, self.run_dir = report["started_ns"], report["run_dir"]
        self.error_ms, self.drift_ms = report["error_ms"], report["drift_ms"]
        self.status, self.notes = report["status"], report["notes"]
        if self.state is State.DONE and self.status not in {"finished", "interrupted"} and self.end is None:
            self.end = self.notes[0] if self.notes else self.status

    def die(self, why: str, died_at_ns: int | None) -> None:
        """Take it for gone; its calls in progress are lost. `died_at_ns` is on its clock, None before the start."""
        if self.end is None:
            self.end = why
        self.status = "died"
        if self.started_ns is not None and died_at_ns is not None:
            for record in self.share.lose(self.name, self.started_ns, died_at_ns, f"{self.name}: {why}"):
                self.receive("call", to_json(record))
        self.share.held.clear()

    def describe(self, counts_unplaced: bool) -> dict[str, Any]:
        """Return what run.json keeps of this worker; calls it has not placed count against it where it could have."""
        share, seat = self.share, self.seat
        return {
            "name": self.name,
            "host": seat.host,
            "pid": seat.process.pid,
            "clock": seat.clock,
            "shares_clock": seat.shares_clock,
            "started_monotonic_ns": self.started_ns,
            "clock_error_ms": self.error_ms,
            "clock_drift_ms": self.drift_ms,
            "status": self.status,
            "end": self.end,
            "calls_planned": share.n_planned,
            "calls_never_placed": share.n_never_placed if counts_unplaced else None,
            # Where its engine's log and recordings lie when not in this directory.
            "run_dir": self.run_dir,
        }
