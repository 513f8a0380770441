"""A worker: takes its share of each run from the master, hosts it in a Session, and brings every record home.

It needs nothing but the master's address. When the master falls silent it ends its calls by itself and leaves the
records nobody took in `undelivered-<name>.jsonl`.
"""

import json
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

import harness
from harness.exit_codes import ExitCode
from harness.load.cluster import processes
from harness.load.cluster.clocks import Exchange, best_of, clock_id
from harness.load.cluster.fingerprint import fingerprint
from harness.load.cluster.messages import NAME, PING_INTERVAL_S, PROTOCOL_VERSION, SILENCE_LIMIT_S
from harness.load.cluster.part import Part
from harness.load.cluster.preparation import prepare_from
from harness.load.options import RunOptions
from harness.load.request_events import RequestEvents
from harness.load.users import VoiceUser
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.errors import ScenarioError

if TYPE_CHECKING:
    from harness.scenario.check import Prepared

logger = logging.getLogger(__name__)

WELCOME_TIMEOUT_S = 60.0
# Questions asked of another machine's clock before a run; the quickest answer counts.
_CLOCK_QUESTIONS = 10
# For the last records on the way out, where the master is there to take them.
_LEAVE_TIMEOUT_S = 20.0


class Worker:
    """This process as one of several workers."""

    def __init__(self, environment: Any, options: RunOptions) -> None:
        # Locust's Environment; half of it has no type hints.
        self.environment, self.options = environment, options
        self.prepared: Prepared | None = None
        self.part: Part | None = None
        self.shares_clock = False
        self._requests = RequestEvents(environment.events.request.fire)
        self._master: processes.Process | None = None
        self._welcome: dict[str, Any] | None = None
        self._answered = Event()
        self._refused: str | None = None
        self._heard_at_ns = monotonic_ns()
        self._exchanges: list[Exchange] = []
        self.is_leaving = False

    # Joining.

    def attach(self) -> None:
        """Join the master; raises ScenarioError when it has no place for this worker."""
        events = self.environment.events
        events.test_stopping.add_listener(lambda **_: self._end_part())
        events.quitting.add_listener(lambda **_: self._on_quitting())
        self.environment.runner.register_message(NAME, lambda msg, **_: self._take(msg.data))
        gevent.signal_handler(signal.SIGINT, self.leave, "was stopped where it runs (SIGINT)")
        self._join()
        gevent.spawn(self._keep_in_touch)

    def _join(self) -> None:
        deadline_ns = monotonic_ns() + round(WELCOME_TIMEOUT_S * NS_PER_S)
        while not self._answered.is_set():
            if monotonic_ns() > deadline_ns:
                raise ScenarioError(f"the master did not answer within {WELCOME_TIMEOUT_S:g} s; is it Callquake's?")
            self.send(
                "hello",
                protocol=PROTOCOL_VERSION,
                version=harness.__version__,
                host=socket.gethostname(),
                process=processes.own_process().to_json(),
                clock=clock_id(),
            )
            self._answered.wait(0.5)
        if self._refused is not None or self._welcome is None:
            raise ScenarioError(f"the master refused this worker: {self._refused}")
        self._prepare(self._welcome)

    def _prepare(self, welcome: dict[str, Any]) -> None:
        self._master = processes.Process.from_json(welcome["process"])
        self.shares_clock = welcome["clock"] == clock_id()
        try:
            self.prepared = prepare_from(welcome, self.options.corpus)
        except (ScenarioError, OSError) as error:
            # The master ends the run, and this worker with it: it is the master's user who must know.
            print(f"this worker cannot take part: {error}", file=sys.stderr, flush=True)
            self.environment.process_exit_code = ExitCode.BAD_SCENARIO
            self.send("unfit", why=str(error))
            return
        self.environment.host = self.prepared.url
        self.send("fit", plan=fingerprint(self.prepared))

    # The master's words.

    def _take(self, message: dict[str, Any]) -> None:
        self._heard_at_ns = monotonic_ns()
        kind = message["t"]
        if kind == "welcome":
            self._welcome = self._welcome or message
            self._answered.set()
        elif kind == "refused":
            self._on_refused(str(message["why"]))
        elif kind == "pong":
            exchange = Exchange(message["asked_ns"], message["answered_ns"], self._heard_at_ns)
            self._exchanges = [*self._exchanges[-_CLOCK_QUESTIONS:], exchange]
        elif kind == "begin":
            self._begin(message)
        elif self.part is not None and message["run"] == self.part.run:
            self.part.take(message)

    def _on_refused(self, why: str) -> None:
        was_joining = not self._answered.is_set()
        self._refused = why
        self._answered.set()
        if not was_joining and not self.is_leaving:
            print(f"the master refused this worker: {why}", file=sys.stderr, flush=True)
            self.environment.process_exit_code = self.environment.process_exit_code or ExitCode.LOCUST_ERROR
            gevent.spawn(self._leave, "the master took this worker for gone", False)

    def _begin(self, message: dict[str, Any]) -> None:
        if self.prepared is None or self.is_leaving or (self.part is not None and self.part.run == message["run"]):
            return
        self._end_part()
        self.part = Part(self, self.prepared, message)
        # Before any user of this run can ask for it.
        VoiceUser.session = self.part.session
        self.part.start()

    # What a part needs of its worker.

    def send(self, kind: str, **fields: Any) -> bool:
        """Send one message to the master; False when it could not even be queued."""
        try:
            self.environment.runner.send_message(NAME, {"t": kind, **fields})
        except Exception:
            # Locust has no common class for what can go wrong here; what matters is sent again.
            logger.exception("could not send %r to the master", kind)
            return False
        return True

    def count_request(self, kind: str, row: dict[str, Any]) -> None:
        """Show a record in Locust's own tables."""
        self._requests.take(kind, row)

    def ask_clock(self) -> Exchange | None:
        """Ask the master's clock some times; return the best answer, None when there was none in time."""
        self._exchanges = []
        for _ in range(_CLOCK_QUESTIONS):
            asked = len(self._exchanges)
            self.send("ping", asked_ns=monotonic_ns())
            for _ in range(100):
                gevent.sleep(0.005)
                if len(self._exchanges) > asked:
                    break
        return best_of(self._exchanges) if self._exchanges else None

    # Leaving.

    def leave(self, why: str) -> None:
        """End this worker's calls, bring the records home and end the process. From a signal, or a master gone."""
        gevent.spawn(self._leave, why, True)

    def _leave(self, why: str, delivers: bool) -> None:
        if self.is_leaving:
            return
        self.is_leaving = True
        logger.warning("leaving: %s", why)
        if self.environment.process_exit_code is None:
            self.environment.process_exit_code = ExitCode.INTERRUPTED
        if self.part is not None:
            self.part.end("stopped", why)
            self.part.wait_until_delivered(_LEAVE_TIMEOUT_S if delivers else 0.0)
        self._keep_undelivered()
        self.environment.runner.quit()

    def _end_part(self) -> None:
        if self.part is not None:
            self.part.end("finished", "the run was ended by its master")
            VoiceUser.session = None

    def _on_quitting(self) -> None:
        self._end_part()
        if self.part is not None and not self._is_master_gone():
            self.part.wait_until_delivered(1.0)
        self._keep_undelivered()
        if self.environment.process_exit_code is None:
            # Calls that failed are the target's, and are in the master's verdict.
            self.environment.process_exit_code = ExitCode.PASSED if self.part is None else self.part.exit_code

    def _keep_undelivered(self) -> None:
        part, self.part = self.part, None
        rows = part.outbox.pending if part is not None else []
        if part is None or not rows:
            return
        path = part.session.run_dir / f"undelivered-{part.name}.jsonl"
        try:
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps({"kind": kind, "row": row}) + "\n" for kind, row in rows)
        except OSError as error:
            logger.exception("the last records are lost")
            print(f"{len(rows)} records that the master never took are lost: {error}", file=sys.stderr, flush=True)
            return
        print(f"{len(rows)} records that the master never took are in {path}", file=sys.stderr, flush=True)

    # Life signs.

    def _keep_in_touch(self) -> None:
        while not self.is_leaving:
            self.send("ping", asked_ns=monotonic_ns())
            if self._is_master_gone():
                self.environment.process_exit_code = ExitCode.LOCUST_ERROR
                print("the master is gone; this worker ends", file=sys.stderr, flush=True)
                self._leave("the master is gone", False)
                return
            gevent.sleep(PING_INTERVAL_S)

    def _is_master_gone(self) -> bool:
        if self._master is not None and processes.can_see(self._master) and processes.end_of(self._master) is not None:
            return True
        return monotonic_ns() - self._heard_at_ns > SILENCE_LIMIT_S * NS_PER_S
