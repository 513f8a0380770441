"""The one clock of a run: CLOCK_MONOTONIC in nanoseconds, shared by every process of a host."""

import time

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds; on Linux comparable between processes of one host."""
    return time.monotonic_ns()


def ms_between(start_ns: int, end_ns: int) -> float:
    """Return the milliseconds from `start_ns` to `end_ns`; negative when `end_ns` came first."""
    return (end_ns - start_ns) / NS_PER_MS
