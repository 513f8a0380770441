"""One engine process and the conversation with it, for gevent: plans go down, milestones and records come up.

The engine is a fresh interpreter (never a fork of this gevent-patched one) on the other end of a socket pair. Whatever
happens to it, every call placed gets an end: its own record, a LOST one when the engine died under it, or None when the
run was stopped before it was due.

$CALLQUAKE_ENGINE_COMMAND replaces `python -m harness.engine` (tests use a scripted engine); `--fd N` is appended.
"""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket, subprocess
from gevent.event import AsyncResult, Event
from gevent.queue import Queue

from harness.engine.wire import PROTOCOL_VERSION, AlikeWriter, Decoder, Message, encode
from harness.load.lost_call import lost_call
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.codec import from_json, to_json
from harness.model.errors import GeneratorError, LocalProtocolError, ScenarioError
from harness.model.plan import CallPlan
from harness.model.records import CallRecord

if TYPE_CHECKING:
    from harness.model.needs import Needs

COMMAND_VARIABLE = "CALLQUAKE_ENGINE_COMMAND"
# The first engine after an installation compiles its media loop: tens of seconds of a whole core, and with several
# workers on one machine at once each does.
READY_TIMEOUT_S = 240.0
# The engine gives its calls 10 s to hang up; then it is stuck.
STOP_TIMEOUT_S = 15.0
# Health comes every second: an engine silent for this long is stuck, whatever its process table entry says.
SILENCE_LIMIT_S = 15.0
# A call due this shortly before the end may not have begun.
_DUE_TOLERANCE_NS = 100_000_000
# Calls that are alike and due later wait so long for company.
_GATHER_S = 0.02
_RECORDS = {"turn": "record", "call": "record", "health": "sample"}

OnMessage = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class OpenCall:
    """A call the engine has and has not ended."""

    plan: CallPlan
    due_at_ns: int | None
    placed_at_ns: int
    ended: AsyncResult
    connected_at_ns: int | None = None
    greeting_ms: float | None = None
    turns_answered: int = 0


class EngineClient:
    """Starts, feeds, reads and ends one engine. `on_message(kind, row)` gets every record and milestone as JSON."""

    def __init__(
        self, worker: str, run_dir: Path, corpus_dir: Path, on_message: OnMessage, on_death: Callable[[str], None]
    ) -> None:
        self._worker, self._run_dir, self._corpus_dir = worker, run_dir, corpus_dir
        self._on_message, self._on_death = on_message, on_death
        # What the run will ask of the engine; it refuses to start, or warns, where this machine has not the room.
        self.needs: Needs | None = None
        self.warnings: list[str] = []
        self.open_calls: dict[str, OpenCall] = {}
        self.pid: int | None = None
        self._process: Any = None
        self._socket: Any = None
        self._reader: Any = None
        self._watch: Any = None
        self._heard_at_ns = 0
        self._writer: Any = None
        # One greenlet sends: a user killed while sending must not leave half a message behind.
        self._outgoing: Any = Queue()
        # Calls that are alike leave together, as rows.
        self._alike = AlikeWriter()
        self._ready, self._gone = Event(), Event()
        self._has_stopped = self._is_stopping = False
        self._stop_sent_ns: int | None = None
        self._fatal: tuple[str, str] | None = None

    @property
    def log_path(self) -> Path:
        """Where the engine's own output goes."""
        return self._run_dir / f"engine-{self._worker}.log"

    def start(self) -> None:
        """Spawn the engine and wait until it is ready; raises GeneratorError or ScenarioError with its reason."""
        ours, theirs = socket.socketpair()
        command = [*_command(), "--fd", str(theirs.fileno())]
        try:
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()]
                )
        except OSError as error:
            ours.close()
            raise GeneratorError(f"cannot start the engine ({shlex.join(command)}): {error.strerror}") from error
        finally:
            theirs.close()
        self.pid, self._socket = self._process.pid, ours
        self._reader, self._writer = gevent.spawn(self._read), gevent.spawn(self._write)
        run_dir, corpus = str(self._run_dir.resolve()), str(self._corpus_dir.resolve())
        needs = to_json(self.needs)
        self._send("hello", protocol=PROTOCOL_VERSION, worker=self._worker, run_dir=run_dir, corpus=corpus, needs=needs)
        gevent.wait([self._ready, self._gone], timeout=READY_TIMEOUT_S, count=1)
        if not self._ready.is_set():
            self._refuse_start()
        self._watch = gevent.spawn(self._watch_silence)

    def place(self, plan: CallPlan, due_at_ns: int | None) -> AsyncResult:
        """Hand a call to the engine; the result is its CallRecord, None if the run stopped before it was due."""
        call = OpenCall(plan, due_at_ns, monotonic_ns(), AsyncResult())
        self.open_calls[plan.call_id] = call
        if self._alike.is_alike(plan):
            self._outgoing.put((plan, due_at_ns))
        else:
            self._send("place", plan=to_json(plan), due_at_ns=due_at_ns)
        if self._gone.is_set():
            self._end_open_calls()
        return call.ended

    def hang_up(self, call_id: str) -> None:
        """Ask the engine to end one call as the operator."""
        if call_id in self.open_calls:
            self._send("hang_up", call_id=call_id)

    def begin_fault(self, fault: dict[str, Any]) -> None:
        """Have the engine put a fault, as JSON, on its calls; to be said again is harmless."""
        self._send("fault", fault=fault)

    def end_fault(self, name: str) -> None:
        """Have the engine let go of a fault."""
        self._send("end_fault", name=name)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End every call and the engine; True when it went by itself, False when it had to be killed."""
        self._is_stopping, self._stop_sent_ns = True, monotonic_ns()
        if self._process is None or self._gone.is_set():
            self._end_open_calls()
            return True
        self._send("stop")
        went = bool(self._gone.wait(timeout_s))
        if went:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=2.0)
        self.kill()
        self._gone.wait(5.0)
        self._end_open_calls()
        return went and self._has_stopped

    def kill(self) -> None:
        """End the engine process, if it still runs, at once."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _send(self, kind: str, **fields: Any) -> None:
        self._outgoing.put(encode(kind, **fields))

    def _write(self) -> None:
        # The reader notices a broken connection and says so.
        with contextlib.suppress(OSError):
            while True:
                waiting = [self._outgoing.get()]
                if not isinstance(waiting[0], bytes) and waiting[0][1] is not None:
                    # Due in a second: others like it will come, and each message wakes the engine.
                    gevent.sleep(_GATHER_S)
                while not self._outgoing.empty():
                    waiting.append(self._outgoing.get())
                self._socket.sendall(b"".join(self._frames(waiting)))

    def _frames(self, waiting: list[Any]) -> Iterator[bytes]:
        """Yield messages in their order; calls that are alike and have none between them go into one."""
        for is_frame, group in groupby(waiting, lambda item: isinstance(item, bytes)):
            found = list(group)
            yield b"".join(found) if is_frame else self._alike.write(found)

    def _read(self) -> None:
        decoder = Decoder()
        try:
            while data := self._receive():
                self._heard_at_ns = monotonic_ns()
                for message in decoder.feed(data):
                    self._take(message)
        except (LocalProtocolError, ValueError, TypeError, KeyError) as error:
            self._fatal = self._fatal or ("generator", f"its messages make no sense: {error!r}")
        self._writer.kill(block=False)
        self._socket.close()
        self._gone.set()
        if not self._has_stopped:
            self._died()

    def _watch_silence(self) -> None:
        """Kill an engine that was ready and says nothing any more; its reader then takes it for dead."""
        while not self._gone.wait(1.0):
            if self._is_stopping:
                return
            if self._is_silent():
                # Were it this process that stood still, its reader has words to read yet: let it.
                gevent.sleep(0.5)
            if self._is_silent() and not self._is_stopping:
                self._fatal = self._fatal or ("generator", f"sent nothing for {SILENCE_LIMIT_S:g} s and was killed")
                self.kill()
                return

    def _is_silent(self) -> bool:
        return monotonic_ns() - self._heard_at_ns > SILENCE_LIMIT_S * NS_PER_S

    def _receive(self) -> bytes:
        """Return what came, nothing once the engine is gone."""
        try:
            return bytes(self._socket.recv(262_144))
        except OSError:
            return b""

    def _take(self, message: Message) -> None:
        kind = message["t"]
        if kind == "ready":
            if message["protocol"] != PROTOCOL_VERSION:
                raise LocalProtocolError(f"wire protocol {message['protocol']} is not {PROTOCOL_VERSION}")
            self.warnings = [str(text) for text in message.get("warnings", [])]
            self._ready.set()
        elif kind == "stopped":
            self._has_stopped = True
        elif kind == "error":
            self._fatal = (str(message["fault"]), str(message["message"]))
        elif kind == "milestone":
            self._note_milestone(message)
            self._on_message(kind, message)
        elif kind == "fault":
            self._on_message("fault_evidence", message)
        elif kind in _RECORDS:
            row = message[_RECORDS[kind]]
            self._on_message(kind, row)
            if kind == "call":
                self._finish(row)
        else:
            raise LocalProtocolError(f"unknown message {kind!r}")

    def _note_milestone(self, message: Message) -> None:
        call = self.open_calls.get(message["call_id"])
        if call is None:
            return
        if message["name"] == "connected":
            call.connected_at_ns = message["at_ns"]
        elif message["name"] == "greeting":
            call.greeting_ms = message["value_ms"]
        elif message["name"] == "turn_answered":
            call.turns_answered += 1

    def _finish(self, row: dict[str, Any]) -> None:
        call = self.open_calls.pop(row["call_id"], None)
        if call is not None:
            call.ended.set(from_json(CallRecord, row))

    def _died(self) -> None:
        # A hung socket peer may outlive its end of the pair: what cannot talk to us must not keep calling.
        gevent.sleep(0.05)
        self.kill()
        why = self.death()
        self._end_open_calls(why)
        if not self._is_stopping:
            self._on_death(why)

    def _end_open_calls(self, why: str = "the engine went away") -> None:
        """Give every call still open its end; one that was not yet due never started and leaves no record."""
        now_ns = monotonic_ns()
        end_ns = (self._stop_sent_ns or now_ns) - _DUE_TOLERANCE_NS
        for call_id, call in list(self.open_calls.items()):
            del self.open_calls[call_id]
            if call.connected_at_ns is None and call.due_at_ns is not None and call.due_at_ns > end_ns:
                call.ended.set(None)
                continue
            record = lost_call(
                call.plan,
                self._worker,
                due_at_ns=call.due_at_ns,
                placed_at_ns=call.placed_at_ns,
                now_ns=now_ns,
                why=why,
                progress=call,
            )
            self._on_message("call", to_json(record))
            call.ended.set(record)

    def death(self) -> str:
        """Say why the engine is gone: its own last message, or its exit status and where its log is."""
        if self._fatal is not None:
            return f"engine {self._worker}: {self._fatal[1]}"
        status = self._process.poll() if self._process is not None else None
        how = (
            f"was killed by {signal.Signals(-status).name}" if status is not None and status < 0 else f"exited {status}"
        )
        return f"engine {self._worker} {how}; its log: {self.log_path}"

    def _refuse_start(self) -> None:
        was_gone = self._gone.is_set()
        self._is_stopping = True
        self.kill()
        self._gone.wait(5.0)
        if self._fatal is not None and self._fatal[0] == "scenario":
            raise ScenarioError(self._fatal[1])
        why = self.death() if was_gone else f"engine {self._worker} was not ready within {READY_TIMEOUT_S:g} s"
        raise GeneratorError(why)


def _command() -> list[str]:
    given = os.environ.get(COMMAND_VARIABLE)
    return shlex.split(given) if given else [sys.executable, "-m", "harness.engine"]
