"""The batch queue on an event loop: futures for requests, a task a batch, one timer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.model.clock import NS_PER_S, monotonic_ns, ms_between
from harness.model.errors import CallquakeError
from target_stack.pipeline.batch_queue import (
    BatchQueue,
    BatchRules,
    BatchStarted,
    Refusal,
    RequestDone,
    RequestFailed,
    RequestRefused,
    Withdrawn,
)
from target_stack.stages.worker import QueueFullError
from target_stack.telemetry.batch_stats import BatchStats

Q = TypeVar("Q")
A = TypeVar("A")

# Takes a batch; returns as many results in the same order. An exception among them is one request's own failure.
Replica = Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]]


class BatchRefusedError(QueueFullError):
    """The queue will not answer this request: full, too late, closed. Another provider may."""

    def __init__(self, queue: str, reason: Refusal, retry_after_ms: float) -> None:
        super().__init__(f"{queue}: refused ({reason.value}); room in about {retry_after_ms:.0f} ms")
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class BatchShapeError(CallquakeError):
    """A model gave another number of results than it got requests: whose is whose is unknown, so none is used."""


@dataclass(frozen=True, slots=True)
class Batched(Generic[A]):
    """An answer, how long its request waited for a batch, how long that batch took, and how many shared it."""

    value: A
    queue_ms: float
    work_ms: float
    batch_size: int


@dataclass(slots=True)
class _Request(Generic[Q, A]):
    payload: Q
    answer: "asyncio.Future[Batched[A]]"


@dataclass(slots=True)
class _Batch(Generic[A]):
    started: BatchStarted
    started_ns: int
    ended_ns: int = 0
    results: Sequence[A | Exception] = ()
    error: Exception | None = None


class BatchRunner(Generic[Q, A]):
    """Gathers `ask`s into batches for `replicas`, by the rules. A cancelled asker withdraws its request."""

    def __init__(
        self,
        name: str,
        rules: BatchRules,
        replicas: Sequence[Replica[Q, A]],
        stats: BatchStats,
        *,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        if len(replicas) != rules.replicas:
            raise ValueError(f"{name}: {len(replicas)} replicas, but rules for {rules.replicas}")
        self.name = name
        self.stats = stats
        self._queue = BatchQueue(rules)
        self._replicas = replicas
        self._now = now
        self._requests: dict[int, _Request[Q, A]] = {}
        self._numbers = 0
        self._batches: dict[int, _Batch[A]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        stats.replicas = rules.replicas

    async def ask(self, payload: Q, *, since_ns: int | None = None, deadline_ms: float | None = None) -> Batched[A]:
        """Return the answer. Raises BatchRefusedError, or what the model raised for this request.

        `since_ns`: since when the caller has been waiting; None: since now. `deadline_ms`: None: the rules'.
        """
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Batched[A]] = asyncio.get_running_loop().create_future()
        self._requests[number] = _Request(payload, answer)
        self._queue.submit(number, self._now(), since_ns=since_ns, deadline_ms=deadline_ms)
        self._pump()
        try:
            return await answer
        except asyncio.CancelledError:
            self._withdraw(number)
            if answer.done() and not answer.cancelled():
                # Read, so that an error nobody waits for any more is not reported as never retrieved.
                answer.exception()
            raise

    def _withdraw(self, number: int) -> None:
        where = self._queue.cancel(number)
        if where is not Withdrawn.OVER:
            del self._requests[number]
            self.stats.endings[f"cancelled {where.value}"] += 1
        self._pump()

    def _pump(self) -> None:
        """Carry out what the queue decided, and set the timer for its next decision."""
        for output in self._queue.take_outputs():
            match output:
                case BatchStarted():
                    self._start(output)
                case RequestDone():
                    self._answer(output)
                case RequestFailed():
                    self._fail(output.request, self._error_of(output.batch), "failed")
                case RequestRefused():
                    refused = BatchRefusedError(self.name, output.reason, output.retry_after_ms)
                    self._fail(output.request, refused, f"refused {output.reason.value}")
        self._count()
        self._set_timer()

    def _start(self, started: BatchStarted) -> None:
        self.stats.sizes[len(started.requests)] += 1
        for waited_ms in started.waited_ms:
            self.stats.waits.observe(waited_ms)
        self._batches[started.batch] = batch = _Batch[A](started, self._now())
        payloads = [self._requests[number].payload for number in started.requests]
        # A context of its own: a batch belongs to none of the calls that share it.
        task = asyncio.create_task(self._run(batch, payloads), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: _Batch[A], payloads: Sequence[Q]) -> None:
        try:
            batch.results = await self._replicas[batch.started.replica](payloads)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those who asked
            batch.error = error
        else:
            batch.error = self._shape_error(len(batch.results), len(payloads))
        self.stats.failed_batches += batch.error is not None
        batch.ended_ns = self._now()
        self.stats.work.observe(ms_between(batch.started_ns, batch.ended_ns))
        number = batch.started.batch
        self._queue.finish(number, batch.ended_ns, succeeded=batch.error is None)
        self._pump()
        del self._batches[number]

    def _shape_error(self, results: int, requests: int) -> BatchShapeError | None:
        if results == requests:
            return None
        return BatchShapeError(f"{self.name}: {results} results for {requests} requests")

    def _answer(self, done: RequestDone) -> None:
        batch = self._batches[done.batch]
        value = batch.results[done.place]
        if isinstance(value, Exception):
            self._fail(done.request, value, "failed")
            return
        request = self._requests.pop(done.request)
        self.stats.endings["answered"] += 1
        if not request.answer.done():
            waited_ms = batch.started.waited_ms[done.place]
            work_ms = ms_between(batch.started_ns, batch.ended_ns)
            request.answer.set_result(Batched(value, waited_ms, work_ms, len(batch.started.requests)))

    def _fail(self, number: int, error: Exception, ending: str) -> None:
        request = self._requests.pop(number)
        self.stats.endings[ending] += 1
        if not request.answer.done():
            request.answer.set_exception(error)

    def _error_of(self, batch: int) -> Exception:
        error = self._batches[batch].error
        assert error is not None
        return error

    def _count(self) -> None:
        self.stats.depth = self._queue.depth
        self.stats.in_batches = self._queue.in_batches
        self.stats.busy_replicas = self._queue.busy_replicas

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = self._queue.next_timer_ns()
        if due_ns is not None:
            delay_s = max(0, due_ns - self._now()) / NS_PER_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._queue.handle_timer(self._now())
        self._pump()

    async def aclose(self) -> None:
        """Refuse what waits and runs, and end the batches' tasks; their threads end with the replicas' workers."""
        self._queue.close()
        self._pump()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
