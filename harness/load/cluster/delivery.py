"""Records on their way to the master: numbered, kept until acknowledged, sent again when nobody did. Sans-I/O.

Locust's messages are lost when a connection breaks or its queue is full. Whatever is lost, doubled or turned round on
the way, the inbox gives out each record once and in the order in which it was added (go-back-N).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Kind and JSON of one record.
Row = tuple[str, dict[str, Any]]
MAX_BATCH = 500
# Rows under way and not acknowledged: a master that is slow is not drowned.
WINDOW = 5_000
RESEND_AFTER_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows `first`, `first` + 1, ... of a worker's run."""

    first: int
    rows: Sequence[Row]


class Outbox:
    """A worker's rows, from the first that the master has not acknowledged."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._acknowledged = 0
        self._next = 0
        self._moved_at_ns = 0

    @property
    def n_added(self) -> int:
        """Rows added since the run began."""
        return self._acknowledged + len(self._rows)

    @property
    def pending(self) -> list[Row]:
        """Rows the master is not known to have."""
        return list(self._rows)

    def add(self, kind: str, row: dict[str, Any]) -> None:
        """Append one row."""
        self._rows.append((kind, row))

    def take(self, now_ns: int) -> Batch | None:
        """Return what is to be sent now, None when there is nothing; call again until then."""
        under_way = self._next - self._acknowledged
        if not under_way:
            self._moved_at_ns = now_ns
        elif now_ns - self._moved_at_ns >= RESEND_AFTER_NS:
            self._next, self._moved_at_ns, under_way = self._acknowledged, now_ns, 0
        rows = self._rows[under_way : min(under_way + MAX_BATCH, WINDOW)]
        if not rows:
            return None
        batch = Batch(self._next, rows)
        self._next += len(rows)
        return batch

    def acknowledge(self, awaited: int, now_ns: int) -> None:
        """Forget the rows before number `awaited`; a word that came late, or of rows never added, changes nothing."""
        if not self._acknowledged < awaited <= self.n_added:
            return
        del self._rows[: awaited - self._acknowledged]
        self._acknowledged, self._moved_at_ns = awaited, now_ns
        self._next = max(self._next, awaited)


class Inbox:
    """The master's end of one worker's rows."""

    def __init__(self) -> None:
        # Number of the row that comes next; all before it were given out.
        self.awaited = 0

    def take(self, batch: Batch) -> list[Row]:
        """Return the rows that are new and in order; a batch beyond a gap gives none, and will be sent again."""
        known = self.awaited - batch.first
        if known < 0:
            return []
        fresh = list(batch.rows[known:])
        self.awaited += len(fresh)
        return fresh
