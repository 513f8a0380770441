"""What a process costs, read from /proc: CPU time in ns of all its threads, and memory.

The scheduler's own sums are used (/proc/PID/task/*/schedstat, ns). The usual user and system times are kept in clock
ticks of 10 ms; they stand in where a thread ended meanwhile and took its sum along.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU time of a process so far."""

    by_thread_ns: dict[int, int]
    # User and system time of all threads, ended ones too; in steps of a tick.
    ticked_ns: int

    def since(self, earlier: "CpuReading") -> int:
        """Return the CPU ns spent since `earlier`."""
        if not earlier.by_thread_ns.keys() <= self.by_thread_ns.keys():
            return self.ticked_ns - earlier.ticked_ns
        return sum(self.by_thread_ns.values()) - sum(earlier.by_thread_ns.values())


def read_cpu(pid: int) -> CpuReading:
    """Return what `pid` has used so far."""
    by_thread: dict[int, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            by_thread[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    # The command's name, in brackets, may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return CpuReading(by_thread, (int(fields[11]) + int(fields[12])) * _TICK_NS)


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process in kB: resident, and the part that is its own."""

    resident_kb: int
    private_kb: int


def read_memory(pid: int) -> Memory:
    """Return the memory of `pid` (/proc/PID/smaps_rollup)."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        sizes[name] = int(value.split()[0])
    return Memory(sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def busy_ns(core: int) -> int:
    """Return how long `core` has been other than idle, since boot (/proc/stat, in ticks)."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(v) for v in values[:8])
            return (user + nice + system + irq + softirq + steal) * _TICK_NS
    raise ValueError(f"/proc/stat knows no core {core}")
