"""Who injected a fault: a process that may be gone, and whose number may by now be another's."""

import os
from dataclasses import dataclass
from pathlib import Path

_STAT_START_TIME = 19


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its number, when it began (clock ticks since boot), and which boot of which machine that was."""

    pid: int
    start_ticks: int
    boot_id: str
    host: str = ""


def this_process() -> Owner:
    """Return who runs this code."""
    return owner_of(os.getpid()) or Owner(os.getpid(), 0, boot_id(), host_name())


def owner_of(pid: int) -> Owner | None:
    """Return the process of that number, None where there is none, or none but a corpse nobody has waited for."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold blanks and parentheses of its own.
    fields = said.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return Owner(pid, int(fields[_STAT_START_TIME]), boot_id(), host_name())


def is_alive(owner: Owner) -> bool:
    """Whether that very process still runs."""
    return owner_of(owner.pid) == owner


def host_name() -> str:
    """Return this machine's name: a home directory may be shared by several."""
    return os.uname().nodename


def boot_id() -> str:
    """Return what tells this boot of the machine from any other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
