"""The runs of one Locust process: Locust's events in, sessions and run directories out.

Local: this process has the engine and the files. On a master the engines are the workers' (harness/load/cluster),
and the files are here. A web session may start and stop many times; each time is a run of its own.
"""

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from locust.runners import MasterRunner

from harness.exit_codes import ExitCode
from harness.faults.effect import Means
from harness.load import run_info
from harness.load.cluster.fingerprint import fingerprint
from harness.load.cluster.master import Cluster
from harness.load.cluster.preparation import description_of
from harness.load.cluster.seats import Seats
from harness.load.engine_faults import RunEngines
from harness.load.faults import RunFaults
from harness.load.live import Live
from harness.load.options import DEFAULT_REPORTS_DIR, RunOptions
from harness.load.request_events import RequestEvents
from harness.load.retarget import retarget
from harness.load.run_writer import FILES, RunWriter
from harness.load.schedule import Schedule
from harness.load.session import Session
from harness.load.shape import ArrivalShape, UserShape
from harness.load.users import VoiceUser
from harness.model.clock import monotonic_ns
from harness.model.errors import ScenarioError
from harness.scenario.check import Prepared
from harness.scenario.faults import admin_of, due_faults
from harness.scenario.run_dir import RUN_FILE, new_run_id, utc_now

logger = logging.getLogger(__name__)
# Beyond the longest call, before what is left of a run is cut.
_GRACE_S = 10.0


class Runs:
    """Follows Locust from test to test."""

    def __init__(
        self, environment: Any, prepared: Prepared, options: RunOptions, infos: dict[str, dict[str, Any] | None]
    ) -> None:
        """`infos` is what each target says of itself, by name."""
        # Locust's Environment; half of it has no type hints.
        self.environment, self.prepared, self.options = environment, prepared, options
        self.session: Session | Cluster | None = None
        self.live = Live(prepared.loaded.scenario.limits.answer_timeout_s * 1000)
        self.writer: RunWriter | None = None
        self.faults: RunFaults | None = None
        self._engine_faults = RunEngines(lambda: self.session)
        self.last_run_dir: Path | None = None
        self._infos = infos
        self._requests = RequestEvents(environment.events.request.fire)
        self._status, self._notes = "finished", list[str]()
        self._is_planned_end = False
        self._started_ns: int | None = None
        self._report: Any = None
        self._has_used_run_dir = False
        self._has_failed_to_write = False
        self._n_runs = 0
        self._seats = self._make_seats() if isinstance(environment.runner, MasterRunner) else None

    def attach(self) -> None:
        """Listen to Locust, choose the shape, and let users finish their calls when a ramp takes them away."""
        events, runner = self.environment.events, self.environment.runner
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.quitting.add_listener(self._on_quitting)
        if self._seats is not None:
            self._seats.attach()
        self.environment.stop_timeout = self.longest_call_s
        # The web form shows it, and may change it for its next run.
        self.environment.host = self.prepared.url
        shape = self._shape()
        if shape is not None:
            shape.runner = runner
        self.environment.shape_class = shape

    def _make_seats(self) -> Seats:
        return Seats(
            self.environment.runner,
            welcome=lambda: description_of(self.prepared, self.options.calls, self.options.minutes),
            plan=fingerprint(self.prepared),
            on_word=lambda seat, message: (
                self.session.take(seat, message) if isinstance(self.session, Cluster) else None
            ),
            on_end=lambda seat: self.session.lose(seat) if isinstance(self.session, Cluster) else None,
            is_closed=lambda: self.session is not None,
            waits_for_all=self.environment.web_ui is None,
        )

    def _shape(self) -> ArrivalShape | UserShape | None:
        users = self.prepared.loaded.scenario.load.users
        if users is None:
            return ArrivalShape(self._state, self.prepared.due_ms or [])
        options = self.environment.parsed_options
        if self.environment.web_ui is None:
            return UserShape(self._state, users.stages)
        # In the web UI the person ramps; the scenario's stages are what the form is filled with.
        options.num_users = options.num_users or max(stage.users for stage in users.stages)
        options.spawn_rate = options.spawn_rate or users.stages[0].spawn_rate
        options.run_time = options.run_time or round(sum(stage.duration_s for stage in users.stages))
        return None

    # What the shape and the progress line ask of the run.

    def _state(self) -> "Runs | None":
        return self if self._started_ns is not None else None

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since the first instant a call could be due; None before the engines are ready."""
        return self.session.elapsed_s if self.session is not None and self.session.ready.is_set() else None

    @property
    def ended(self) -> int:
        """Calls that have ended."""
        return self.live.ended

    @property
    def is_over(self) -> bool:
        """Nothing left to wait for."""
        return self._status != "finished" if self.session is None else self.session.is_over

    @property
    def longest_call_s(self) -> float:
        """How long a call begun last may take."""
        return self.prepared.loaded.scenario.limits.call_timeout_s + _GRACE_S

    def cut(self, note: str) -> None:
        """End the run now, as planned, and say so."""
        self._is_planned_end = True
        self._notes.append(note)

    def place_no_more(self) -> None:
        """Let the calls in progress end and begin none."""
        self._is_planned_end = True
        if self.session is not None:
            self.session.place_no_more()

    def interrupt(self, why: str) -> bool:
        """End the run early on somebody's wish; False when none is going on."""
        if self._started_ns is None:
            return False
        self._status = "interrupted"
        if self.session is not None:
            self.session.end_early("interrupted", why)
        return True

    # Locust's events.

    def _on_test_start(self, **_: Any) -> None:
        try:
            self._begin()
        except ScenarioError as error:
            _tell(str(error))
            self._give_up_start(ExitCode.BAD_SCENARIO)
        except Exception as error:
            # Locust would log it and run on, with users that wait for a session for ever.
            logger.exception("the run could not begin")
            _tell(f"the run could not begin: {error!r}")
            self._give_up_start(ExitCode.LOCUST_ERROR)

    def _give_up_start(self, code: ExitCode) -> None:
        self.environment.process_exit_code = code
        self.environment.runner.quit()

    def _begin(self) -> None:
        self._status, self._notes, self._is_planned_end = "finished", [], False
        self._has_failed_to_write = False
        self.prepared = retarget(self.prepared, self.environment.host)
        self.live = Live(self.prepared.loaded.scenario.limits.answer_timeout_s * 1000)
        self._n_runs += 1
        # Before there is a directory: a worker that is not fit ends the run before it has begun.
        cluster = None if self._seats is None else self._gather(self._seats)
        self._started_ns = monotonic_ns()
        run_id = self.options.run_id or new_run_id(self.prepared.loaded.scenario.name)
        if self._has_used_run_dir:
            run_id = new_run_id(self.prepared.loaded.scenario.name)
        run_dir = self._next_run_dir(run_id)
        self.writer = RunWriter(run_dir, run_info.describe_run(self.prepared, run_id, self._infos, sys.argv[:]))
        self.writer.open()
        # Beside Locust's own start: a change of the user count would cut that off.
        if cluster is not None:
            gevent.spawn(cluster.start, run_id, run_dir, self._save_workers)
        else:
            gevent.spawn(self._start_session(run_dir).start)
        self.faults = self._begin_faults(run_dir)

    def _begin_faults(self, run_dir: Path) -> RunFaults:
        prepared = self.prepared
        scenario = prepared.loaded.scenario
        means = Means(
            admin=admin_of(scenario, [target.url for target in prepared.targets.values()], os.environ),
            engines=self._engine_faults,
            environ=dict(os.environ),
            folder=str(prepared.loaded.path.parent.resolve()),
        )
        due = due_faults(scenario, prepared.seed)
        faults = RunFaults(due, means, str(run_dir.resolve()), self._receive, lambda: self.elapsed_s)
        faults.begin()
        return faults

    def _end_faults(self) -> None:
        if self.faults is not None:
            self.faults.end()

    def _gather(self, seats: Seats) -> Cluster:
        cluster = Cluster(seats, self.prepared, self._n_runs, self._receive)
        cluster.gather(self.environment.parsed_options.expect_workers)
        self.session = cluster
        return cluster

    def _start_session(self, run_dir: Path) -> Session:
        session = Session(self.prepared, run_dir, "local", Schedule(self.prepared), self._deliver)
        self.session = VoiceUser.session = session
        return session

    def _save_workers(self) -> None:
        if self.writer is not None and isinstance(self.session, Cluster):
            try:
                self.writer.save_info(workers=self.session.describe(), first_due_monotonic_ns=self.session.started_ns)
            except OSError as error:
                self._end_unwritable(error)

    def _on_test_stopping(self, **_: Any) -> None:
        if self.session is None:
            return
        if not (self.session.is_over or self._is_planned_end):
            self._explain_stop(self.session)
        # Before the engines, which tell what they did of it.
        self._end_faults()
        self.session.finish()

    def _explain_stop(self, session: Session | Cluster) -> None:
        """Say what a stop from outside means: the planned end of a run without one, or an interruption."""
        if isinstance(session, Cluster) and session.is_deserted:
            # Locust stops by itself when it misses every worker; each will be told with its own end.
            return
        if self.environment.shape_class is None:
            self._notes.append("ended by Stop, or by the run time, of the web UI")
        elif self.environment.parsed_options.run_time:
            self._notes.append("ended by --run-time")
        else:
            session.end_early("interrupted", "stopped before its end")

    def _on_test_stop(self, **_: Any) -> None:
        if self._started_ns is None:
            return
        self._started_ns = None
        self._end_faults()
        session, self.session, VoiceUser.session = self.session, None, None
        if self.writer is None:
            return
        status = session.status if session is not None else self._status
        notes = [*self._notes, *(session.notes if session is not None else [])]
        changes: dict[str, Any] = {"status": status, "notes": notes}
        if session is not None:
            changes["first_due_monotonic_ns"] = session.started_ns
        if isinstance(session, Cluster):
            changes["workers"] = session.describe()
        try:
            self.writer.close()
            self.writer.save_info(**changes, ended_at=utc_now(), ended_monotonic_ns=monotonic_ns())
        except OSError as error:
            _tell(f"the run could not be closed: {error}")
        self.last_run_dir, self.writer = self.writer.run_dir, None
        if self.options.writes_report:
            self._report = gevent.spawn(self._write_report, self.last_run_dir)

    def _on_quitting(self, **_: Any) -> None:
        if self.session is not None:
            if not self.session.is_over:
                self.interrupt("Locust was told to quit")
            self._end_faults()
            self.session.finish()
        self._on_test_stop()
        if self._report is not None:
            self.environment.process_exit_code = self._report.get()
        elif self.last_run_dir is not None:
            # The parent decides by the verdict.
            self.environment.process_exit_code = 0

    def _write_report(self, run_dir: Path) -> int:
        """Write the reports in a process of their own: this one is patched by gevent and may be serving the web UI."""
        logger.info("writing the reports of %s", run_dir)
        command = [sys.executable, "-m", "harness.cli", "report", str(run_dir)]
        return int(subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode)

    # Records.

    def _deliver(self, kind: str, row: dict[str, Any]) -> None:
        """Take a record of this process's engine to Locust's tables and to the files."""
        self._requests.take(kind, row)
        self._receive(kind, row)

    def _receive(self, kind: str, row: dict[str, Any]) -> None:
        if kind == "fault_evidence":
            self._engine_faults.take(row)
            return
        if self.writer is not None and kind in FILES:
            try:
                self.writer.write(kind, row)
            except OSError as error:
                self._end_unwritable(error)
        self.live.take(kind, row)

    def _end_unwritable(self, error: OSError) -> None:
        """End a run whose disk is full: what is not recorded cannot be judged. Later records fail alike: once."""
        if self._has_failed_to_write:
            return
        self._has_failed_to_write = True
        note = f"the records could not be written: {error.strerror or error}"
        self._status = "engine_died"
        if self.session is not None:
            self.session.end_early("engine_died", note)
        else:
            self._notes.append(note)
        _tell(note)

    def _next_run_dir(self, run_id: str) -> Path:
        """Return --run-dir for the first run, a folder beside it named after the run for every other."""
        given = self.options.run_dir
        if given is not None and not self._has_used_run_dir:
            self._has_used_run_dir = True
            return given
        return (given.parent if given is not None else Path(DEFAULT_REPORTS_DIR)) / run_id


def _tell(text: str) -> None:
    # Our output is a log on the same disk: a full one must not keep the run from ending.
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def check_run_dir(run_dir: Path | None) -> None:
    """Refuse a directory that holds a run already; raises ScenarioError."""
    if run_dir is not None and (run_dir / RUN_FILE).exists():
        raise ScenarioError(f"--run-dir: {run_dir} holds a run already; legal: a new or empty directory")
