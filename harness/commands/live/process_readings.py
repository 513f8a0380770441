"""What the operating system tells of processes: memory, descriptors, threads, and who our own are."""

import os
from collections.abc import Iterator

import psutil

from harness.measure.audit_after import RUN_PROCESS
from harness.model.audit_sample import DESCRIPTORS, RSS_MIB, THREADS

# Clocks that tell when a process began are read twice: by itself, and here.
_SAME_START_S = 2.0
# What a run is made of, by its command line.
_ROLES = {"harness.engine": "engine", "locust": "load generator"}


def read_process(pid: int, started_at: float | None = None) -> tuple[dict[str, float], str]:
    """Return what process `pid` holds, and why some of it, or all, could not be read.

    `started_at` (Unix seconds, by its own word) tells it from another machine's, or another one that has its number.
    """
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if started_at is not None and abs(process.create_time() - started_at) > _SAME_START_S:
                return {}, f"pid {pid} is another process here: the target's is on another machine, or in a container"
            if process.status() == psutil.STATUS_ZOMBIE:
                return {}, f"process {pid} has ended"
            values = {RSS_MIB: process.memory_info().rss / 2**20, THREADS: float(process.num_threads())}
            try:
                values[DESCRIPTORS] = float(process.num_fds())
            except psutil.AccessDenied:
                return values, f"the descriptors of process {pid} may not be counted: it is another user's"
            return values, ""
    except psutil.NoSuchProcess:
        return {}, f"there is no process {pid} here"
    except psutil.AccessDenied:
        return {}, f"process {pid} may not be read: it is another user's"


class OwnProcesses:
    """This process and what it began, each under a name of its own."""

    def __init__(self) -> None:
        self._names = {os.getpid(): RUN_PROCESS}

    def now(self) -> Iterator[tuple[str, int]]:
        """Yield (name, pid) of each that runs."""
        us = psutil.Process()
        yield RUN_PROCESS, us.pid
        for child in sorted(us.children(recursive=True), key=lambda one: one.pid):
            name = self._names.get(child.pid) or self._name(child)
            if name:
                self._names[child.pid] = name
                yield name, child.pid

    def _name(self, process: psutil.Process) -> str:
        """Return a name for a process not seen before; "" where it has ended, or is yet to become what it will be."""
        try:
            words = process.cmdline()
            if process.status() == psutil.STATUS_ZOMBIE or words == psutil.Process().cmdline():
                return ""
        except psutil.Error:
            return ""
        module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
        role = _ROLES.get(module) or module or (os.path.basename(words[0]) if words else "")  # noqa: PTH119 (no path)
        if not role:
            return ""
        taken = sum(name.split(" #")[0] == role for name in self._names.values())
        return f"{role} #{taken + 1}" if taken else role
