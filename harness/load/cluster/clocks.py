"""Whose clock a worker's times are on, and how two clocks relate.

Processes of one boot and one time namespace share CLOCK_MONOTONIC, and a time of one may be compared with a time of
another. Any other worker has a clock of its own: its calls are due on it, its records speak of it, and only instants
relative to the run's common start are ever put side by side. That start is carried over by exchanges of messages
(Cristian 1989): the answer was given between asking and hearing, so it is right to half of what the exchange took.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.model.clock import NS_PER_MS

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def clock_id(boot_id: Path = _BOOT_ID, namespace: str = "/proc/self/ns/time") -> str:
    """Return a name that two processes share only if they share CLOCK_MONOTONIC; unique where that cannot be told."""
    try:
        boot = boot_id.read_text(encoding="ascii").strip()
    except OSError:
        return f"unknown-{os.urandom(8).hex()}"
    try:
        return f"{boot} {Path(namespace).readlink()}"
    except OSError:
        # Before Linux 5.6 there was one time for all.
        return boot


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and answer. `answered_ns` is on the other clock, the rest on ours."""

    asked_ns: int
    answered_ns: int
    heard_ns: int

    @property
    def offset_ns(self) -> int:
        """The other clock minus ours, right to `error_ns`."""
        return self.answered_ns - (self.asked_ns + self.heard_ns) // 2

    @property
    def error_ns(self) -> int:
        """Half of what the exchange took, rounded up."""
        return (self.heard_ns - self.asked_ns + 1) // 2


def best_of(exchanges: Iterable[Exchange]) -> Exchange:
    """Return the exchange that tells most: the quickest. Raises ValueError when there is none."""
    return min(exchanges, key=lambda e: e.error_ns)


def drift_ms(before: Exchange, after: Exchange) -> float:
    """Return by how much the other clock gained on ours from one exchange to the other."""
    return (after.offset_ns - before.offset_ns) / NS_PER_MS
