"""Which call comes next, and when: the cursor over a run's plans. One a worker; worker w of n takes every n-th call."""

from dataclasses import dataclass

from harness.model.clock import NS_PER_MS
from harness.model.plan import CallPlan
from harness.scenario.check import Prepared


def indices_of(total: int, worker_index: int, worker_count: int) -> range:
    """Return the calls of one worker: dealt out like cards, so that every worker's arrivals are spread over the run."""
    if not 0 <= worker_index < worker_count:
        raise ValueError(
            f"worker {worker_index} of {worker_count}; legal: from 0 to one less than the number of workers"
        )
    return range(worker_index, total, worker_count)


@dataclass(frozen=True, slots=True)
class NextCall:
    """A plan and its absolute due time; None in closed loop, where a free slot decides."""

    plan: CallPlan
    due_at_ns: int | None


class Schedule:
    """Hands out calls in order, each once. The calls of all workers together are those of one worker alone."""

    def __init__(self, prepared: Prepared, worker_index: int = 0, worker_count: int = 1) -> None:
        self._prepared = prepared
        self._next, self._stride = worker_index, worker_count
        self._start_ns = 0
        self._is_closed = False

    def start(self, start_ns: int) -> None:
        """Fix the instant from which due times count."""
        self._start_ns = start_ns

    def close(self) -> None:
        """Hand out nothing more."""
        self._is_closed = True

    @property
    def worker_count(self) -> int:
        """How many workers share the run."""
        return self._stride

    @property
    def is_open_loop(self) -> bool:
        """True where every call has a due time, whatever became of the calls before it."""
        return self._prepared.due_ms is not None

    @property
    def total(self) -> int | None:
        """Calls of the whole run over all workers; None where only time ends it."""
        due = self._prepared.due_ms
        return self._prepared.max_calls if due is None else len(due)

    @property
    def is_exhausted(self) -> bool:
        """True when nothing will be handed out any more."""
        return self._is_closed or (self.total is not None and self._next >= self.total)

    def take(self) -> NextCall | None:
        """Return the next call, None when there is none."""
        if self.is_exhausted:
            return None
        index = self._next
        self._next += self._stride
        due = self._prepared.due_ms
        due_ms = None if due is None else due[index]
        plan = self._prepared.planner.plan_for_index(index, due_ms)
        return NextCall(plan, None if due_ms is None else self._start_ns + round(due_ms * NS_PER_MS))
