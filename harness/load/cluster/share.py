"""One worker's share of a run as its records tell it: what it began, what ended, and what is lost when it dies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.load.lost_call import lost_call
from harness.load.schedule import indices_of
from harness.model.clock import NS_PER_MS
from harness.model.records import CallRecord
from harness.scenario.check import Prepared


@dataclass(slots=True)
class Held:
    """A call the worker has begun, or is about to; times on the worker's clock."""

    index: int
    placed_at_ns: int
    connected_at_ns: int | None = None
    greeting_ms: float | None = None
    turns_answered: int = 0


class Share:
    """Worker `index` of `count`: it makes every `count`-th call of the plan, from call `index` on."""

    def __init__(self, prepared: Prepared, index: int, count: int) -> None:
        self._prepared = prepared
        self.index, self.count = index, count
        self.held: dict[str, Held] = {}
        self.n_ended = 0

    @property
    def n_planned(self) -> int | None:
        """Calls of this share; None where only time ends the run."""
        due_ms = self._prepared.due_ms
        total = self._prepared.max_calls if due_ms is None else len(due_ms)
        return None if total is None else len(indices_of(total, self.index, self.count))

    @property
    def n_never_placed(self) -> int | None:
        """Calls of this share that left no record once the worker has gone; None where the share has no end."""
        return None if self.n_planned is None else max(0, self.n_planned - self.n_ended)

    def n_active(self, elapsed_ms: float) -> int:
        """Count calls begun and not ended, `elapsed_ms` after the common start; one handed over ahead has not begun."""
        due_ms = self._prepared.due_ms
        return sum(due_ms is None or due_ms[held.index] <= elapsed_ms for held in self.held.values())

    def take(self, kind: str, row: dict[str, Any]) -> None:
        """Follow one record or milestone."""
        if kind == "placed":
            self.held[row["call_id"]] = Held(row["index"], row["at_ns"])
        elif kind == "milestone":
            self._note(row)
        elif kind == "call":
            self.held.pop(row["call_id"], None)
            self.n_ended += 1

    def _note(self, row: dict[str, Any]) -> None:
        call = self.held.get(row["call_id"])
        if call is None:
            return
        if row["name"] == "connected":
            call.connected_at_ns = row["at_ns"]
        elif row["name"] == "greeting":
            call.greeting_ms = row["value_ms"]
        elif row["name"] == "turn_answered":
            call.turns_answered += 1

    def lose(self, worker: str, started_ns: int, died_at_ns: int, why: str) -> Iterator[CallRecord]:
        """Give out a LOST record for each call that had begun when the worker died, and forget the rest.

        `started_ns` is the common start, `died_at_ns` the death, both on the worker's clock. A call that was handed
        over and not yet due then had not begun: it is counted as never placed.
        """
        for held in list(self.held.values()):
            due_ms = None if self._prepared.due_ms is None else self._prepared.due_ms[held.index]
            due_at_ns = None if due_ms is None else started_ns + round(due_ms * NS_PER_MS)
            if due_at_ns is not None and due_at_ns > died_at_ns and held.connected_at_ns is None:
                continue
            plan = self._prepared.planner.plan_for_index(held.index, due_ms)
            self.n_ended += 1
            yield lost_call(
                plan,
                worker,
                due_at_ns=due_at_ns,
                placed_at_ns=held.placed_at_ns,
                now_ns=died_at_ns,
                why=why,
                progress=held,
            )
        self.held.clear()
