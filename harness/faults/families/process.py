"""Processes that stop, or die: a stage's server, a media server, coturn, a database; whatever runs on this machine."""

import contextlib
import os
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.faults.effect import Counts, Effect, Means, undo_all
from harness.faults.errors import FaultError
from harness.faults.kind import Kind
from harness.faults.owner import Owner, is_alive, owner_of
from harness.faults.parameter import choice, text, whole
from harness.faults.program import problem_of
from harness.faults.reverts import Revert, by_signal, by_start
from harness.model.fault import Evidence, Fault, Where

WHICH = (
    text("pid_file", "file that holds the process's number", None),
    whole("pid", "the process's number", None, low=2),
    text("pattern", "the only process whose command line holds this text", None),
)
RESTART = text("restart", "command that starts it again, without a shell; left out, somebody else does", None)
_SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "HUP": signal.SIGHUP}
# How long one that is told to end may take before it counts as one that survived.
_DIES_S = {signal.SIGKILL: 2.0, signal.SIGTERM: 15.0, signal.SIGINT: 15.0, signal.SIGHUP: 5.0}


def one_of(parameters: Mapping[str, Any]) -> str:
    """Say what is wrong where not exactly one of WHICH is given, or `restart` is no program."""
    given = [name for name in ("pid_file", "pid", "pattern") if name in parameters]
    if len(given) != 1:
        return "needs exactly one of: pid_file, pid, pattern"
    return problem_of("restart", parameters.get("restart"))


def find_process(fault: Fault, means: Means) -> Owner:
    """Return the process that a fault names. Raises FaultError where there is none, or are several."""
    said = fault.parameters
    if "pattern" in said:
        return _by_pattern(fault, str(said["pattern"]))
    if "pid_file" in said:
        path = Path(means.folder) / str(said["pid_file"])
        try:
            pid = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise FaultError(f"{fault.name}: {path}: no process number in it: {error}") from error
    else:
        pid = int(str(said["pid"]))
    found = owner_of(pid)
    if found is None or pid in (os.getpid(), os.getppid()):
        raise FaultError(f"{fault.name}: no process {pid} of somebody else's runs here")
    return found


def _by_pattern(fault: Fault, pattern: str) -> Owner:
    ours = {os.getpid(), os.getppid()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if pattern in words and int(folder.name) not in ours:
                found.append(int(folder.name))
    owner = owner_of(found[0]) if len(found) == 1 else None
    if owner is None:
        raise FaultError(f"{fault.name}: {len(found)} processes have {pattern!r} in their command line; legal: one")
    return owner


def send(fault: Fault, process: Owner, number: signal.Signals) -> None:
    """Signal that very process. Raises FaultError, also where another one has come to have its number."""
    if not is_alive(process):
        raise FaultError(f"{fault.name}: process {process.pid} is gone")
    try:
        os.kill(process.pid, number)
    except OSError as error:
        raise FaultError(f"{fault.name}: process {process.pid}: {error.strerror}") from error


class _Signalled:
    """A process that is sent a signal; what was not sent needs no undoing."""

    _fault: Fault
    _process: Owner
    _is_sent = False

    def _send(self, number: signal.Signals) -> None:
        # Set before: whoever interrupts us in between finds it sent.
        self._is_sent = True
        try:
            send(self._fault, self._process, number)
        except FaultError:
            self._is_sent = False
            raise


class Stopped(_Signalled):
    """A process that is stopped, and goes on afterwards."""

    def __init__(self, fault: Fault, process: Owner) -> None:
        self._fault, self._process = fault, process
        self._was_stopped = False
        self.reverts: tuple[Revert, ...] = (
            by_signal(f"process {process.pid}, which is stopped", process, signal.SIGCONT),
        )

    def start(self) -> None:
        """Stop it. Raises FaultError, also for one that somebody else has stopped: it would go on by our end."""
        if _is_stopped(self._process):
            raise FaultError(f"{self._fault.name}: process {self._process.pid} stands still already, by somebody else")
        self._send(signal.SIGSTOP)

    def evidence(self) -> Evidence:
        """Return whether the kernel says that it is stopped."""
        self._was_stopped = self._was_stopped or (self._is_sent and _is_stopped(self._process))
        return Evidence(int(self._was_stopped), "processes stopped", {"pid": self._process.pid})

    def stop(self) -> Evidence:
        """Let it go on. Raises FaultError."""
        evidence = self.evidence()
        if self._is_sent:
            undo_all(self.reverts)
        return evidence


def _is_stopped(process: Owner) -> bool:
    try:
        said = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return said.rpartition(")")[2].split()[0] in ("T", "t") and is_alive(process)


class Killed(_Signalled):
    """A process that is ended, and started again afterwards where somebody said how."""

    def __init__(self, fault: Fault, means: Means, process: Owner) -> None:
        self._fault, self._process = fault, process
        command = fault.parameters.get("restart")
        words = shlex.split(str(command)) if command else []
        about = f"process {process.pid}, which was ended"
        self._signal = _SIGNALS[str(fault.parameters.get("signal", "KILL"))]
        back = by_start(about, words, means.folder, process, patience_s=_DIES_S[self._signal])
        self.reverts: tuple[Revert, ...] = (back,) if words else ()
        self._is_undone = False
        # What its end leaves as it is.
        self._left = ""

    def start(self) -> None:
        """End it. Raises FaultError."""
        self._send(self._signal)

    def evidence(self) -> Evidence:
        """Return whether it is gone."""
        counts: Counts = {"pid": self._process.pid}
        is_ended = self._is_sent and not is_alive(self._process)
        return Evidence(int(is_ended), "processes ended", counts, detail=self._left)

    def stop(self) -> Evidence:
        """Start it again, once. Raises FaultError."""
        if self._is_sent and not self._is_undone:
            undo_all(self.reverts)
            self._is_undone = True
            self._left = "" if self.reverts else "it is not started again here: no `restart` was given"
        return self.evidence()


def _make_stop(fault: Fault, means: Means) -> Effect:
    return Stopped(fault, find_process(fault, means))


def _make_kill(fault: Fault, means: Means) -> Effect:
    return Killed(fault, means, find_process(fault, means))


KINDS = (
    Kind(
        name="process.stop",
        where=Where.INFRASTRUCTURE,
        about="a process stands still (SIGSTOP) and goes on afterwards: it keeps its connections and answers nothing",
        parameters=WHICH,
        evidence="the kernel's word that the process is stopped",
        reverts="SIGCONT, journalled; never to another process that has come to have its number",
        make=_make_stop,
        needs="the right to signal it",
        example={"pattern": "coturn"},
        rule=one_of,
        filters=(),
    ),
    Kind(
        name="process.kill",
        where=Where.INFRASTRUCTURE,
        about="a process is ended, and started again afterwards where `restart` says how",
        parameters=(
            *WHICH,
            choice("signal", "what ends it", tuple(_SIGNALS), "KILL"),
            RESTART,
        ),
        evidence="the process is gone from the process table",
        reverts="`restart` is run, journalled, unless the process itself survived",
        make=_make_kill,
        needs="the right to signal it",
        example={"pid_file": "/run/coturn.pid", "restart": "systemctl start coturn"},
        rule=one_of,
        filters=(),
    ),
)
