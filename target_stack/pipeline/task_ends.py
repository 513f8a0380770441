"""How a task ended that others may wait for, and tasks that were called off and are still to end."""

import asyncio
from asyncio import Task
from typing import Any


def read(task: Task[Any]) -> None:
    """Look at how it ended, so that asyncio does not call it forgotten: who needs its result is told by `await`."""
    if not task.cancelled():
        task.exception()


def has_failed(task: Task[Any]) -> bool:
    """Return whether it is over and gave no result: it raised, or was cancelled."""
    return task.done() and (task.cancelled() or task.exception() is not None)


class CalledOff:
    """Tasks that were cancelled and that nobody waits for now: each may take its time, as a server's stream does."""

    def __init__(self) -> None:
        self._tasks: set[Task[Any]] = set()

    def add(self, task: Task[Any] | None) -> None:
        """Cancel a task, if there is one and it is not over."""
        if task is not None and not task.done():
            task.cancel()
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def ended(self) -> None:
        """Return when all of them have ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))
