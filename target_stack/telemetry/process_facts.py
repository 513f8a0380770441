"""What a process tells of itself, for who watches it for leaks: /healthz's `processes`, and /metrics.

Memory, descriptors and threads are the system's to tell; the number says whom to ask for.
"""

import asyncio
import os
from functools import cache
from typing import Any

import psutil

from target_stack.telemetry.exposition import gauge


@cache
def _started_at() -> float:
    """Return when this process began, Unix seconds: with its number it is told from any other."""
    return psutil.Process().create_time()


def process_facts(name: str, calls: int | None = None) -> dict[str, Any]:
    """Return this process's entry; from within its event loop. `calls`: what it holds now, where it knows."""
    facts = {"name": name, "pid": os.getpid(), "started_at": _started_at(), "tasks": len(asyncio.all_tasks())}
    return facts if calls is None else {**facts, "calls": calls}


def child_facts(name: str, pid: int | None) -> list[dict[str, Any]]:
    """Return the entry of a process that this one began, none while it does not run."""
    return [] if pid is None else [{"name": name, "pid": pid}]


def render_process() -> str:
    """Return the Prometheus text of what the system does not know."""
    return gauge("asyncio_tasks", "Tasks of the event loop now.", [({}, len(asyncio.all_tasks()))])
