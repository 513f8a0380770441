"""Threads that run models: low priority, a bounded number of waiting jobs, and the wait told apart from the work."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.model.clock import monotonic_ns, ms_between
from harness.model.errors import CallquakeError
from target_stack.call_scope import call_scope
from target_stack.telemetry.stats import Stats

# A load generator on the same cores must keep its 20 ms ticks; models can wait.
MODEL_NICENESS = 10

T = TypeVar("T")


class QueueFullError(CallquakeError):
    """More jobs wait than the stage's bound allows; the job was refused, not delayed."""


class GivesWayError(CallquakeError):
    """A request that is worth no wait found every thread busy; it was not queued, and nothing is wrong."""


def lower_priority() -> None:
    """Give this thread MODEL_NICENESS. Thread pools it creates later (onnxruntime, ctranslate2) inherit it."""
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < MODEL_NICENESS:
        os.setpriority(os.PRIO_PROCESS, thread, MODEL_NICENESS)


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A job's result and how long it waited for a free thread."""

    value: T
    queue_ms: float


class ModelWorker:
    """`threads` low-priority threads with at most `waiting` jobs queued behind them.

    A full queue refuses (QueueFullError) rather than waits: a voice turn answered ten seconds late is no answer.
    A call's partial (call_scope.Work) is never queued: where no thread is free it gives way (GivesWayError).
    A cancelled caller withdraws its job; one already running finishes and its result is dropped.
    """

    def __init__(self, name: str, stats: Stats, *, threads: int = 1, waiting: int = 16) -> None:
        self.name = name
        self.threads = threads
        self._stats = stats
        self._bound = waiting
        self._waiting = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=lower_priority)
        self._free = asyncio.Semaphore(threads)
        stats.queue_depths[name] = 0

    async def run(self, job: Callable[..., T], *arguments: object) -> Done[T]:
        """Run `job(*arguments)` on a worker thread. Raises QueueFullError, GivesWayError, and what the job raises."""
        queued_at = monotonic_ns()
        await self._take_thread()
        waited_ms = ms_between(queued_at, monotonic_ns())
        running = asyncio.get_running_loop().run_in_executor(self._pool, job, *arguments)
        # The thread is free when the job ends, not when its caller loses interest.
        running.add_done_callback(self._release)
        return Done(await asyncio.shield(running), waited_ms)

    async def _take_thread(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if (scope := call_scope()) is not None and scope.work == "partial":
            raise GivesWayError(f"{self.name}: every thread is busy, and a partial does not wait")
        if self._waiting >= self._bound:
            self._stats.refused[self.name] += 1
            raise QueueFullError(f"{self.name}: {self._waiting} jobs wait already, the bound is {self._bound}")
        self._count(1)
        try:
            await self._free.acquire()
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        self._waiting += step
        self._stats.queue_depths[self.name] = self._waiting

    def _release(self, running: "asyncio.Future[T]") -> None:
        self._free.release()
        if not running.cancelled():
            # Read, so that a dropped result's error is not reported as never retrieved.
            running.exception()

    async def aclose(self, timeout_s: float = 3.0) -> bool:
        """Take no more jobs and wait for the running ones; False when one outlived `timeout_s`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + timeout_s
        while any(thread.is_alive() for thread in self._pool._threads):  # noqa: SLF001 - the pool has no timed join
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.02)
        return True
