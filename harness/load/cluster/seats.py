"""The master's list of its workers: who is there, on which machine and clock, fit for the run or not, alive or not.

A seat outlives a run: the web UI starts one after another with the same workers.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent

import harness
from harness.load.cluster import processes
from harness.load.cluster.clocks import clock_id
from harness.load.cluster.messages import NAME, PING_INTERVAL_S, PROTOCOL_VERSION, SILENCE_LIMIT_S
from harness.model.clock import NS_PER_S, monotonic_ns

logger = logging.getLogger(__name__)

# (client id, kind, message): words of a worker that concern a run.
OnWord = Callable[["Seat", dict[str, Any]], None]


@dataclass(slots=True)
class Seat:
    """One connected worker."""

    client_id: str
    host: str
    process: processes.Process
    clock: str
    heard_at_ns: int
    shares_clock: bool
    is_fit: bool = False
    # Why it cannot take part.
    unfit: str | None = None
    # Why it is gone.
    end: str | None = None

    def __str__(self) -> str:
        return f"worker on {self.host} (pid {self.process.pid})"


class Seats:
    """Greets workers, answers their pings, and notices when one is gone."""

    def __init__(
        self,
        runner: Any,
        *,
        welcome: Callable[[], dict[str, Any]],
        plan: str,
        on_word: OnWord,
        on_end: Callable[[Seat], None],
        is_closed: Callable[[], bool],
        waits_for_all: bool,
    ) -> None:
        """Take what a worker must be told and arrive at: `welcome` makes what it needs, `plan` is its fingerprint.

        `is_closed` says that a run goes on; `waits_for_all` that a worker which is not fit must end the run, and so
        has to stay until that begins.
        """
        self._runner, self._welcome, self._plan = runner, welcome, plan
        self._on_word, self._on_end = on_word, on_end
        self._is_closed, self._waits_for_all = is_closed, waits_for_all
        self._clock = clock_id()
        self.by_client: dict[str, Seat] = {}

    def attach(self) -> None:
        """Listen to the workers, from now to the end of the process."""
        self._runner.register_message(NAME, lambda msg, **_: self._take(msg.node_id, msg.data))
        self._guard_locust()
        gevent.spawn(self._watch)

    @property
    def living(self) -> list[Seat]:
        """Workers that are there, in the order in which they came."""
        return [seat for seat in self.by_client.values() if seat.end is None]

    def send(self, seat: Seat, kind: str, **fields: Any) -> None:
        """Send one message; what is lost on the way is made good by the rules of the messages."""
        self._send(seat.client_id, kind, **fields)

    def drop(self, seat: Seat, why: str) -> None:
        """Take a worker for gone, and tell Locust, which moves its users to the others."""
        if seat.end is not None:
            return
        seat.end = why
        logger.info("%s is gone: %s", seat, why)
        self._send(seat.client_id, "refused", why=f"the master took this worker for gone: {why}")
        self._on_end(seat)
        gevent.spawn(self._tell_locust, seat)

    def _send(self, client_id: str, kind: str, **fields: Any) -> None:
        try:
            self._runner.send_message(NAME, {"t": kind, **fields}, client_id)
        except Exception:
            # Locust has no common class for what can go wrong here; a silent worker is noticed by its silence.
            logger.exception("could not send %r to %s", kind, client_id)

    def _tell_locust(self, seat: Seat) -> None:
        if seat.client_id in self._runner.clients:
            message = type("Quit", (), {"type": "quit", "data": None, "node_id": seat.client_id})()
            self._runner.handle_message(seat.client_id, message)

    def _guard_locust(self) -> None:
        """Keep a worker that comes during a run from Locust's list: Locust would take users from the others for it."""
        admit = self._runner.handle_message

        def guarded(client_id: str, message: Any) -> None:
            seat = self.by_client.get(client_id)
            if message.type == "client_ready" and seat is None and self._is_closed():
                self._runner.send_message("ack", client_id=client_id, data={"index": -1})
                return
            admit(client_id, message)
            if message.type == "quit" and seat is not None:
                self.drop(seat, "it was told to stop where it runs, or ended by an error of its own")

        self._runner.handle_message = guarded

    def _take(self, client_id: str, message: dict[str, Any]) -> None:
        kind = message["t"]
        if kind == "hello":
            self._greet(client_id, message)
            return
        seat = self.by_client.get(client_id)
        if seat is None or seat.end is not None:
            self._send(client_id, "refused", why="the master does not know this worker, or took it for gone")
            return
        seat.heard_at_ns = monotonic_ns()
        if kind == "ping":
            self._send(client_id, "pong", asked_ns=message["asked_ns"], answered_ns=seat.heard_at_ns)
        elif kind == "fit":
            self._judge_fitness(seat, message["plan"])
        elif kind == "unfit":
            self._exclude(seat, str(message["why"]))
        else:
            self._on_word(seat, message)

    def _greet(self, client_id: str, message: dict[str, Any]) -> None:
        if message["protocol"] != PROTOCOL_VERSION or message["version"] != harness.__version__:
            ours = f"Callquake {harness.__version__} (protocol {PROTOCOL_VERSION})"
            why = f"this worker runs Callquake {message['version']} (protocol {message['protocol']}), the master {ours}"
            self._send(client_id, "refused", why=f"{why}; install the same version on both")
            return
        if client_id not in self.by_client:
            if self._is_closed():
                self._send(client_id, "refused", why="a run is going on; a worker can join only before it begins")
                return
            process = processes.Process.from_json(message["process"])
            clock = str(message["clock"])
            shares_clock = clock == self._clock
            self.by_client[client_id] = Seat(
                client_id, str(message["host"]), process, clock, monotonic_ns(), shares_clock
            )
        self._send(
            client_id, "welcome", process=processes.own_process().to_json(), clock=self._clock, **self._welcome()
        )

    def _judge_fitness(self, seat: Seat, plan: str) -> None:
        if plan == self._plan:
            seat.is_fit = True
            return
        self._exclude(
            seat,
            "it would place other calls than the master with the same scenario and seed; install the same versions of "
            "callquake, faker and Python on both",
        )

    def _exclude(self, seat: Seat, why: str) -> None:
        seat.unfit = why
        logger.error("%s cannot take part: %s", seat, why)
        if not self._waits_for_all:
            self.drop(seat, why)

    def _watch(self) -> None:
        while True:
            gevent.sleep(PING_INTERVAL_S / 2)
            for seat in list(self.by_client.values()):
                self._check(seat)

    def _check(self, seat: Seat) -> None:
        is_visible = processes.can_see(seat.process)
        if is_visible:
            processes.keep_exit_status(seat.process)
        if seat.end is not None:
            return
        end = processes.end_of(seat.process) if is_visible else None
        if end is not None:
            self.drop(seat, end)
        elif monotonic_ns() - seat.heard_at_ns > SILENCE_LIMIT_S * NS_PER_S:
            self.drop(seat, f"nothing was heard of it for {SILENCE_LIMIT_S:g} s")
