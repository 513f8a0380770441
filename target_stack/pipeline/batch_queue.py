"""Requests of many calls gathered into batches: who goes when, who is refused. Pure; time is an argument.

    submit ─► waiting ──(a replica is free; the batch is full, or one in it has waited `wait_ms`)──► running ─► done
                 │ cancel, shed, deadline, close                                                        │
                 └────────────────────────► refused ◄────────────────── deadline, close ────────────────┘

- **Who goes first**: who has been waiting longest, by the time the caller's own wait began (`since_ns`), not by that
  of the request; ties by arrival. A `since_ns` further back than `credit_ms` counts as that, so a request is overtaken
  only by those that came within `credit_ms` of its own beginning: nobody starves.
- **When it is full**: the one with the shortest wait goes, be it the newcomer. Who could not be answered in time by
  what batches took lately is refused at once, so that a router can send it elsewhere while there is time.
- **A batch that fails** is tried again one by one, so that a request no model can speak fails alone.
- **Cancelled in a batch**: its place is worked out anyway and dropped. A request past its deadline likewise.

Every request that is submitted gets exactly one of RequestDone, RequestFailed and RequestRefused, or was cancelled
before. Requests and batches are numbers here; what they hold is the shell's matter (batch_runner.py).
"""

import math
from dataclasses import dataclass
from enum import Enum

from harness.model.clock import NS_PER_MS

# Weight of the newest batch in the running mean of how long a batch takes.
RECENT = 0.2


class Refusal(Enum):
    """Why a request was not answered."""

    # The queue is full, and every other in it has been waiting longer.
    SATURATED = "saturated"
    # It would be answered after its deadline.
    LATE = "late"
    # Its deadline passed.
    EXPIRED = "expired"
    CLOSED = "closed"


class Withdrawn(Enum):
    """Where a cancelled request was by then."""

    WAITING = "waiting"
    RUNNING = "running"
    # It was answered already, or never asked.
    OVER = "over"


@dataclass(frozen=True, slots=True)
class BatchRules:
    """`size` 1 makes a plain queue: no request waits for another to come."""

    size: int = 8
    # The longest that a free replica is left idle for a batch to fill.
    wait_ms: float = 50.0
    # From submission to answer.
    deadline_ms: float = 5000.0
    # Requests that may wait; those in a batch do not count.
    waiting: int = 64
    # Batches that run at once.
    replicas: int = 1
    credit_ms: float = 10_000.0

    def __post_init__(self) -> None:
        """Raise ValueError on rules no queue can keep."""
        if min(self.size, self.waiting, self.replicas) < 1:
            raise ValueError("size, waiting and replicas must be at least 1")
        if min(self.wait_ms, self.credit_ms) < 0 or self.deadline_ms <= 0:
            raise ValueError("wait_ms and credit_ms must not be negative, deadline_ms must be positive")


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """`requests`, in their places, go to a replica now."""

    batch: int
    replica: int
    requests: tuple[int, ...]
    # For each request.
    waited_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RequestDone:
    """The request's answer is the batch's result at `place`."""

    request: int
    batch: int
    place: int


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The request failed in `batch`, where it was alone."""

    request: int
    batch: int


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """It will not be answered. `retry_after_ms`: by when there may be room again."""

    request: int
    reason: Refusal
    retry_after_ms: float = 0.0


Output = BatchStarted | RequestDone | RequestFailed | RequestRefused


@dataclass(slots=True)
class _Ticket:
    number: int
    since_ns: int
    submitted_ns: int
    deadline_ns: int
    # It was in a batch that failed; it is tried once more, by itself.
    is_alone: bool = False

    @property
    def urgency(self) -> tuple[int, int]:
        """Sorts the most urgent first."""
        return self.since_ns, self.number


@dataclass(slots=True)
class _Running:
    replica: int
    started_ns: int
    # By place; None for a request that was cancelled or ran out of time.
    tickets: list[_Ticket | None]


class BatchQueue:
    """The queue of one stage. Call, then `take_outputs`; call `handle_timer` at `next_timer_ns`."""

    def __init__(self, rules: BatchRules) -> None:
        self.rules = rules
        self._waiting: dict[int, _Ticket] = {}
        self._running: dict[int, _Running] = {}
        self._free = list(range(rules.replicas))
        self._batches = 0
        self._work_ms = 0.0
        self._outputs: list[Output] = []
        self._is_closed = False

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def in_batches(self) -> int:
        """Requests that are being worked on and still wanted."""
        return sum(ticket is not None for run in self._running.values() for ticket in run.tickets)

    @property
    def busy_replicas(self) -> int:
        """Batches that run."""
        return len(self._running)

    def submit(
        self, number: int, now_ns: int, *, since_ns: int | None = None, deadline_ms: float | None = None
    ) -> None:
        """Take request `number`, never used before; its caller waits since `since_ns` (default: now).

        `deadline_ms`: its own in place of the rules'.
        """
        rules = self.rules
        deadline_ms = rules.deadline_ms if deadline_ms is None else deadline_ms
        earliest = now_ns - round(rules.credit_ms * NS_PER_MS)
        since = now_ns if since_ns is None else max(since_ns, earliest)
        ticket = _Ticket(number, since, now_ns, now_ns + round(deadline_ms * NS_PER_MS))
        # What is past its deadline goes first, and so do batches that are due, the newcomer with them if it is its
        # turn: nobody is refused for one that is leaving.
        self._expire_due(now_ns)
        if self._is_closed:
            self._refuse(ticket, Refusal.CLOSED)
            return
        self._waiting[number] = ticket
        self._dispatch(now_ns)
        if number in self._waiting and self._is_late(ticket, deadline_ms):
            del self._waiting[number]
            self._refuse(ticket, Refusal.LATE)
        if len(self._waiting) > rules.waiting:
            self._shed()

    def _is_late(self, newcomer: _Ticket, deadline_ms: float) -> bool:
        others = (ticket for ticket in self._waiting.values() if ticket is not newcomer)
        return self._expected_ms(sum(ticket.since_ns <= newcomer.since_ns for ticket in others)) > deadline_ms

    def _expected_ms(self, ahead: int) -> float:
        """Return how long a request behind so many would take by what batches took lately; 0 before the first."""
        if self._free and not ahead:
            # A free replica takes whatever comes: else one slow batch could keep all others out for good.
            return 0.0
        batches = math.ceil((ahead + 1) / self.rules.size) / self.rules.replicas
        return self._work_ms * (0.5 + batches)

    def cancel(self, number: int) -> Withdrawn:
        """Answer this request no more."""
        if self._waiting.pop(number, None) is not None:
            return Withdrawn.WAITING
        for run in self._running.values():
            for place, ticket in enumerate(run.tickets):
                if ticket is not None and ticket.number == number:
                    run.tickets[place] = None
                    return Withdrawn.RUNNING
        return Withdrawn.OVER

    def finish(self, batch: int, now_ns: int, *, succeeded: bool) -> None:
        """Take note that a batch's replica is free again."""
        run = self._running.pop(batch)
        self._free.append(run.replica)
        work_ms = (now_ns - run.started_ns) / NS_PER_MS
        self._work_ms += (work_ms - self._work_ms) * (RECENT if self._work_ms else 1.0)
        self._expire(now_ns, run.tickets)
        for place, ticket in enumerate(run.tickets):
            if ticket is None:
                continue
            if succeeded:
                self._outputs.append(RequestDone(ticket.number, batch, place))
            elif len(run.tickets) == 1:
                self._outputs.append(RequestFailed(ticket.number, batch))
            else:
                ticket.is_alone = True
                self._waiting[ticket.number] = ticket
        self.handle_timer(now_ns)

    def handle_timer(self, now_ns: int) -> None:
        """Refuse what is past its deadline; start what has waited long enough."""
        self._expire_due(now_ns)
        self._dispatch(now_ns)

    def _expire_due(self, now_ns: int) -> None:
        for run in self._running.values():
            self._expire(now_ns, run.tickets)
        for ticket in [ticket for ticket in self._waiting.values() if ticket.deadline_ns <= now_ns]:
            del self._waiting[ticket.number]
            self._refuse(ticket, Refusal.EXPIRED)

    def next_timer_ns(self) -> int | None:
        """Return when `handle_timer` is due."""
        due = [ticket.deadline_ns for ticket in self._live_tickets()]
        if self._free:
            due += [self._ripe_ns(ticket) for ticket in self._waiting.values()]
        return min(due, default=None)

    def close(self) -> None:
        """Refuse everything that waits or runs, and all that comes."""
        self._is_closed = True
        for ticket in self._live_tickets():
            self._refuse(ticket, Refusal.CLOSED)
        self._waiting.clear()
        for run in self._running.values():
            run.tickets = [None] * len(run.tickets)

    def take_outputs(self) -> list[Output]:
        """Return what has happened since the last call, in order."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def _live_tickets(self) -> list[_Ticket]:
        running = [ticket for run in self._running.values() for ticket in run.tickets if ticket is not None]
        return [*self._waiting.values(), *running]

    def _ripe_ns(self, ticket: _Ticket) -> int:
        """Return when this request alone is reason enough to start a batch."""
        waits = self.rules.size > 1 and not ticket.is_alone
        return ticket.submitted_ns + (round(self.rules.wait_ms * NS_PER_MS) if waits else 0)

    def _dispatch(self, now_ns: int) -> None:
        while self._free and self._waiting:
            is_full = len(self._waiting) >= self.rules.size
            if not is_full and all(self._ripe_ns(ticket) > now_ns for ticket in self._waiting.values()):
                return
            self._start(self._most_urgent(), now_ns)

    def _most_urgent(self) -> list[_Ticket]:
        ordered = sorted(self._waiting.values(), key=lambda ticket: ticket.urgency)
        if ordered[0].is_alone:
            return ordered[:1]
        return [ticket for ticket in ordered if not ticket.is_alone][: self.rules.size]

    def _start(self, tickets: list[_Ticket], now_ns: int) -> None:
        for ticket in tickets:
            del self._waiting[ticket.number]
        # The one that has been idle longest.
        replica = self._free.pop(0)
        self._batches += 1
        self._running[self._batches] = _Running(replica, now_ns, list(tickets))
        waited = tuple((now_ns - ticket.submitted_ns) / NS_PER_MS for ticket in tickets)
        numbers = tuple(ticket.number for ticket in tickets)
        self._outputs.append(BatchStarted(self._batches, replica, numbers, waited))

    def _shed(self) -> None:
        # One that is tried again was let in once.
        candidates = [ticket for ticket in self._waiting.values() if not ticket.is_alone]
        least = max(candidates, key=lambda ticket: ticket.urgency)
        del self._waiting[least.number]
        self._refuse(least, Refusal.SATURATED)

    def _expire(self, now_ns: int, tickets: list[_Ticket | None]) -> None:
        for place, ticket in enumerate(tickets):
            if ticket is not None and ticket.deadline_ns <= now_ns:
                tickets[place] = None
                self._refuse(ticket, Refusal.EXPIRED)

    def _refuse(self, ticket: _Ticket, reason: Refusal) -> None:
        self._outputs.append(RequestRefused(ticket.number, reason, self._room_in_ms()))

    def _room_in_ms(self) -> float:
        batches = math.ceil(len(self._waiting) / self.rules.size)
        return self._work_ms * max(1, batches) / self.rules.replicas
