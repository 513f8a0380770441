"""Which processes a target is made of: those that its /healthz tells, and those that the user names.

/healthz of the bundled agent: {"processes": [{"name", "pid", "started_at", "calls", "tasks"}, ...]}. Any agent may tell
the same; `calls`, `tasks` and `started_at` (Unix seconds) may be missing. `ended_by_order`, where it is told, has name
and pid of those that did not die but were drained or stopped.
"""

import http.client
import json
import math
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.model.audit_sample import CALLS, TASKS
from harness.model.errors import ScenarioError
from harness.scenario.audit_block import ProcessBlock

_TIMEOUT_S, _MOST_BYTES, _MOST_PROCESSES = 3.0, 1_000_000, 1000
_MOST_NAME = 64


@dataclass(frozen=True, slots=True)
class Known:
    """One process, and what it says of itself. Without a pid: why there is none."""

    name: str
    pid: int
    started_at: float | None = None
    told: dict[str, float] = field(default_factory=dict)
    why: str = ""
    is_ordered: bool = False


class TargetProcesses:
    """Asks again at each look: a process that died has another one in its place."""

    def __init__(self, origins: Sequence[str], named: Sequence[ProcessBlock], folder: Path) -> None:
        """`origins`: where /healthz is. `folder`: where relative pid files are."""
        self._origins, self._named, self._folder = tuple(origins), tuple(named), folder
        self._last: dict[str, list[Known]] = {}
        # Ends that were told already.
        self._ended: set[tuple[str, str, int]] = set()

    def now(self) -> list[Known]:
        """Return the processes; of an origin that does not answer, those that it told last."""
        found = [_named(one, self._folder) for one in self._named]
        for origin in self._origins:
            found += self._ask(origin)
        if not found:
            why = "nobody said which they are: no target that is asked by HTTP; legal: --audit-pid NAME=PID"
            return [Known("", 0, why=why)]
        return found

    def _ask(self, origin: str) -> list[Known]:
        try:
            with urllib.request.urlopen(f"{origin}/healthz", timeout=_TIMEOUT_S) as answer:  # noqa: S310 (a target's origin)
                health = json.loads(answer.read(_MOST_BYTES))
        except (OSError, ValueError, http.client.HTTPException) as error:
            # What they say of themselves is not known now; the system's word still is.
            last = [Known(one.name, one.pid, one.started_at) for one in self._last.get(origin, ())]
            return last or self._without(f"{origin}/healthz: {getattr(error, 'reason', None) or error}")
        told = processes_of(health)
        if not told:
            return self._without(f"{origin}/healthz tells no processes; legal: --audit-pid NAME=PID")
        self._last[origin] = told
        return [*told, *self._ended_since(origin, health)]

    def _ended_since(self, origin: str, health: Any) -> list[Known]:
        """Return the ends by order that are news."""
        fresh = [
            one for one in processes_of(health, "ended_by_order") if (origin, one.name, one.pid) not in self._ended
        ]
        self._ended.update((origin, one.name, one.pid) for one in fresh)
        return [replace(one, is_ordered=True) for one in fresh]

    def _without(self, why: str) -> list[Known]:
        # Those that the user named are enough.
        return [] if self._named else [Known("", 0, why=why)]


def processes_of(health: Any, key: str = "processes") -> list[Known]:
    """Return the processes of a /healthz; entries that are none are left out."""
    said = health.get(key) if isinstance(health, dict) else None
    rows = said[:_MOST_PROCESSES] if isinstance(said, list) else []
    return [known for row in rows if isinstance(row, dict) and (known := _known(row)) is not None]


def _known(row: dict[str, Any]) -> Known | None:
    name, pid = row.get("name"), row.get("pid")
    if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME or type(pid) is not int or pid < 1:
        return None
    numbers = {key: value for key in (CALLS, TASKS, "started_at") if (value := _count(row.get(key))) is not None}
    return Known(name, pid, numbers.pop("started_at", None), numbers)


def _count(value: Any) -> float | None:
    """Return a number that can be a count or a time, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _named(block: ProcessBlock, folder: Path) -> Known:
    if block.pid is not None:
        return Known(block.name, block.pid)
    path = folder / (block.pid_file or "")
    try:
        pid = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        return Known(block.name, 0, why=f"{path}: no process number in it: {error}")
    if pid < 2:
        return Known(block.name, 0, why=f"{path}: no process number in it: got {pid}; legal: 2 and up")
    return Known(block.name, pid)


def from_option(words: Sequence[str]) -> list[ProcessBlock]:
    """Return the processes of --audit-pid; raises ScenarioError naming the option and what is legal."""
    found: list[ProcessBlock] = []
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            found.append(ProcessBlock(name=name if equals else f"pid-{number}", pid=int(number)))
        except ValueError as error:
            raise ScenarioError(f"--audit-pid: got {word!r}; legal: PID or NAME=PID, like agent=4711") from error
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ScenarioError(f"--audit-pid: the name {twice!r} stands twice; legal: names that differ")
    return found
