"""How a task ended that others may wait for."""

from asyncio import Task
from typing import Any


def read(task: Task[Any]) -> None:
    """Look at how it ended, so that asyncio does not call it forgotten: who needs its result is told by `await`."""
    if not task.cancelled():
        task.exception()


def has_failed(task: Task[Any]) -> bool:
    """Return whether it is over and gave no result: it raised, or was cancelled."""
    return task.done() and (task.cancelled() or task.exception() is not None)
