"""Work in other processes that may die of it: a decoder that crashes or hangs on one file costs that file alone.

`multiprocessing.Pool` waits for ever for the answer of a worker that was killed, and `ProcessPoolExecutor` gives up
all jobs with it. Here each worker has a pipe of its own and one job at a time.
"""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

J = TypeVar("J")
R = TypeVar("R")
# A crash leaves no message; what it was is told by how the process ended.
_NAMES = {
    -signal.SIGSEGV: "a segmentation fault",
    -signal.SIGKILL: "killed, perhaps for its memory",
    -signal.SIGABRT: "an abort",
}


class WorkerLostError(Exception):
    """A worker ended, or had to be ended, over a job."""


class _Worker(Generic[J]):
    """One process and the pipe to it."""

    def __init__(self, make: Callable[[], Callable[[J], Any]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, make), daemon=True)
        self.process.start()
        theirs.close()
        self.job: J | None = None
        self.due = float("inf")

    def give(self, job: J, limit_s: float) -> None:
        self.job, self.due = job, time.monotonic() + limit_s
        # A worker that died while idle is found out by the wait that follows.
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def take(self) -> Any:
        """Return the answer, or the exception in its place."""
        self.due = float("inf")
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode or 0
            return WorkerLostError(f"the decoder ended with {_NAMES.get(code, f'exit code {code}')}")

    def end(self, *, at_once: bool) -> None:
        self.pipe.close()
        if at_once:
            self.process.kill()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def work(
    jobs: Iterable[J], make: Callable[[], Callable[[J], R]], *, count: int, limit_s: float = 300.0
) -> Iterator[tuple[J, R | WorkerLostError]]:
    """Yield each job with its result, as they come; `count` processes each run `make()` once, then jobs.

    A job over which its process dies, or which takes longer than `limit_s`, yields a WorkerLostError, and the process
    is replaced. An exception that the work itself raises is raised here. All processes end with the iterator.
    """
    waiting = iter(jobs)
    workers: list[_Worker[J]] = []
    try:
        while True:
            while len(workers) < count and (job := next(waiting, None)) is not None:
                workers.append(_Worker(make))
                workers[-1].give(job, limit_s)
            if not workers:
                return
            for worker in _ready(workers):
                finished, result = worker.job, _result(worker, limit_s)
                assert finished is not None
                if isinstance(result, WorkerLostError):
                    workers.remove(worker)
                    worker.end(at_once=True)
                elif isinstance(result, Exception):
                    raise result
                elif (job := next(waiting, None)) is not None:
                    worker.give(job, limit_s)
                else:
                    workers.remove(worker)
                    worker.end(at_once=False)
                yield finished, result
    finally:
        for worker in workers:
            worker.end(at_once=True)


def _ready(workers: "list[_Worker[J]]") -> "list[_Worker[J]]":
    """Wait until some workers have answered, died or run out of time; return those."""
    soonest = max(0.0, min(worker.due for worker in workers) - time.monotonic())
    answered = wait([worker.pipe for worker in workers], timeout=min(soonest, 3600.0))
    return [worker for worker in workers if worker.pipe in answered or time.monotonic() >= worker.due]


def _result(worker: "_Worker[J]", limit_s: float) -> Any:
    if not worker.pipe.poll():
        return WorkerLostError(f"the decoder was still at it after {limit_s:g} s")
    return worker.take()


def _serve(pipe: Connection, make: Callable[[], Callable[[Any], Any]]) -> None:
    """Serve jobs until the pipe closes; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = make()
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            result = run(job)
        except Exception as error:  # noqa: BLE001  whatever it is, the parent is to raise it
            result = error
        with contextlib.suppress(OSError):
            pipe.send(result)
