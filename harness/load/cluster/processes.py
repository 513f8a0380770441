"""Whether a process of this machine still runs, and how it ended. A process elsewhere can only be listened to."""

import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gevent.os

_STARTED_FIELD = 22 - 3


@dataclass(frozen=True, slots=True)
class Process:
    """A process by its number, and what that number means: the namespace and boot it counts in, and when it began."""

    pid: int
    namespace: str
    started: str

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Process":
        """Read what another process said of itself."""
        return cls(int(raw["pid"]), str(raw["namespace"]), str(raw["started"]))


def own_process() -> Process:
    """Return this process."""
    pid = os.getpid()
    fields = _stat(pid)
    return Process(pid, _namespace(), fields[_STARTED_FIELD] if fields else "")


def can_see(process: Process) -> bool:
    """Return whether its number means the same to us."""
    return bool(process.started and process.namespace) and process.namespace == _namespace()


def end_of(process: Process) -> str | None:
    """Return how `process`, which `can_see` has approved, ended; None while it runs."""
    fields = _stat(process.pid)
    if fields and fields[0] not in {"Z", "X"} and fields[_STARTED_FIELD] == process.started:
        return None
    watched = _collected().get(process.pid)
    if watched is not None and not isinstance(watched, tuple):
        # A child of ours that gevent has not told of yet: how it ended is known in a moment.
        return None
    status = _exit_status(process.pid)
    if status is None:
        return "its process is gone"
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may itself hold blanks; none when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _exit_status(pid: int) -> int | None:
    """Look at a child's exit status and leave it for Locust, which waits for its children at the end."""
    watched = _collected().get(pid)
    if isinstance(watched, tuple):
        return os.waitstatus_to_exitcode(watched[1])
    with contextlib.suppress(OSError):
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if seen is not None:
            return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
    return None


def keep_exit_status(process: Process) -> None:
    """Keep the status of a child that died for Locust, which asks at its own end and stumbles where it finds none.

    gevent, which collects children in the background, would forget it after a minute.
    """
    status = _collected().get(process.pid)
    if isinstance(status, tuple):
        _collected()[process.pid] = (*status[:2], time.time())


def _collected() -> dict[int, Any]:
    """Return gevent's table of children: (pid, status, when) for one that died. Private, so it may be missing."""
    table = getattr(gevent.os, "_watched_children", None)
    return table if isinstance(table, dict) else {}


def _namespace() -> str:
    """Return what a process number and the time a process began count in; "" where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        numbers = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    times = Path("/proc/self/ns/time")
    return f"{boot} {numbers} {times.readlink() if times.is_symlink() else ''}"
