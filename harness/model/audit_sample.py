"""A line of audit.jsonl: what one process held at one instant, by the system's word and by its own."""

from dataclasses import dataclass
from enum import StrEnum

# As the operating system tells them, and as a process tells them of itself.
RSS_MIB, DESCRIPTORS, THREADS = "rss_mib", "descriptors", "threads"
TASKS, CALLS = "tasks", "calls"
QUANTITIES = (RSS_MIB, DESCRIPTORS, THREADS, TASKS, CALLS)


class Side(StrEnum):
    """Whose process it is."""

    TARGET = "target"
    # The load generator's own.
    OWN = "own"


@dataclass(frozen=True, slots=True)
class AuditSample:
    """One process at one instant; without a process's name: why none of that side could be read."""

    # CLOCK_MONOTONIC of the host that started the run.
    at_ns: int
    side: Side
    # Unique on its side at any one instant; one process may follow another under its name.
    process: str
    # 0 = nobody said.
    pid: int
    # By quantity; what could not be read is absent.
    values: dict[str, float]
    # Why something could not be read.
    why: str = ""
    # The load was over.
    is_after: bool = False
    # Nothing was read: the target said that it had ended it by order.
    is_ordered: bool = False
