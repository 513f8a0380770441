"""Child processes of a benchmark: pinned to a core, spoken to by JSON lines, measured from outside, ended by pid.

A calling process is told what to do on its standard input and answers each command with one JSON line:

    (start)   {"event": "ready", ...}
    add N     {"event": "up", "calls": calls up now, "failed": so far, "seconds": how long it took}
    count     {"event": "count", "calls": .., "sent": RTP packets so far, "received": .., ...}
    quit, or the end of its input: it ends
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from benchmarks.failure import BenchmarkError

# Ours may have to compile its loop, once a machine.
READY_LIMIT_S = 240.0
COUNT_LIMIT_S = 20.0
_END_LIMIT_S = 5.0
# Above what the product asks for, so that another run of it on this machine does not share the core.
_PRIORITY = 10


@contextlib.contextmanager
def started_on(core: int | None) -> Iterator[None]:
    """Children started inside run on `core` only (None = wherever the system likes), as real-time ones if allowed.

    Our engine asks for real-time scheduling by itself; so that the machine's other work touches nobody more than
    another, every competitor and every answering side gets it.
    """
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


def may_be_real_time() -> bool:
    """Tell whether children get real-time scheduling."""
    try:
        with started_on(None):
            return os.sched_getscheduler(0) == os.SCHED_RR
    except PermissionError:
        return False


def _name_of(command: Sequence[str]) -> str:
    """Return what a reader calls this program: the module behind python -m, the program behind setpriv."""
    words = list(command)
    if words[1:2] == ["-m"]:
        return words[2]
    return Path(words[3] if words[0] == "setpriv" else words[0]).name


class Child:
    """One child process; leaving the `with` block ends it."""

    def __init__(self, command: Sequence[str], core: int | None, log: Path, cwd: Path | None = None) -> None:
        self._name = _name_of(command)
        self._log = log
        self._unread = b""
        with log.open("ab") as errors, started_on(core):
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=cwd
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_running(self) -> bool:
        """Tell whether it has not ended by itself."""
        return self._process.poll() is None

    def tell(self, command: str) -> None:
        """Send one command line."""
        if self._process.stdin is None:
            raise BenchmarkError(f"{self._name} takes no commands")
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise BenchmarkError(self._died(f"did not take '{command}': {error}")) from error

    def hear(self, event: str, limit_s: float) -> dict[str, Any]:
        """Return the next message, which must be `event` and come within `limit_s`."""
        line = self.hear_line(limit_s)
        try:
            message = json.loads(line)
        except ValueError as error:
            raise BenchmarkError(f"{self._name} said '{line[:200]}' instead of '{event}'") from error
        if not isinstance(message, dict) or message.get("event") != event:
            raise BenchmarkError(f"{self._name} said '{line[:200]}' instead of '{event}'")
        return message

    def hear_line(self, limit_s: float) -> str:
        """Return the next line of output; BenchmarkError when it ends or is silent for `limit_s`."""
        stdout = self._process.stdout
        if stdout is None:
            raise BenchmarkError(f"{self._name} has no output")
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise BenchmarkError(self._died(f"said nothing for {limit_s:g} s"))
            data = os.read(stdout.fileno(), 65536)
            if not data:
                raise BenchmarkError(self._died("ended"))
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def _died(self, what: str) -> str:
        tail = self._log.read_text(errors="replace").splitlines()[-6:] if self._log.exists() else []
        return "\n    ".join([f"{self._name} {what}; the end of {self._log}:", *(tail or ["(nothing)"])])

    def close(self) -> None:
        """End it: by the end of its input, then SIGTERM, then SIGKILL."""
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None and process.poll() is None:
                process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_LIMIT_S if number is not None else 1.0)
                break
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True, slots=True)
class Counts:
    """What the callers say of themselves so far; None = this peer cannot tell."""

    calls: int
    sent: int | None
    received: int | None
    # Whatever else the callers report, as they name it.
    more: dict[str, Any]


class Callers(Protocol):
    """A calling process under measurement."""

    @property
    def pid(self) -> int:
        """The process that does the work."""

    def add(self, calls: int) -> int:
        """Place `calls` more; return how many are up."""

    def count(self) -> Counts:
        """Return the callers' own counts."""

    def close(self) -> None:
        """End all calls and the process."""


class CommandedCallers(Child):
    """Callers that obey the commands above."""

    def __init__(
        self,
        command: Sequence[str],
        core: int | None,
        log: Path,
        *,
        add_limit_s: float = 120.0,
        cwd: Path | None = None,
    ) -> None:
        super().__init__(command, core, log, cwd)
        self._add_limit_s = add_limit_s
        try:
            self.about = self.hear("ready", READY_LIMIT_S)
        except BaseException:
            self.close()
            raise
        self.setup_seconds: list[float] = []

    def add(self, calls: int) -> int:
        """Place `calls` more and wait for all of them; BenchmarkError when some did not come up."""
        self.tell(f"add {calls}")
        up = self.hear("up", self._add_limit_s)
        if up.get("failed"):
            raise BenchmarkError(self._died(f"could not set up {up['failed']} of its calls"))
        self.setup_seconds.append(float(up["seconds"]))
        return int(up["calls"])

    def count(self) -> Counts:
        """Return the process's own counts."""
        self.tell("count")
        told = self.hear("count", COUNT_LIMIT_S)
        more = {k: v for k, v in told.items() if k not in ("event", "calls", "sent", "received")}
        return Counts(int(told["calls"]), told.get("sent"), told.get("received"), more)
