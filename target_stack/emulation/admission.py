"""Who may be written a reply at once, as servers with continuous batching admit: slots, room in the KV cache. Pure.

First come, first served: a reply that does not fit yet also holds up the shorter ones behind it, as vLLM's scheduler
does. A reply takes room for its prompt and the longest answer it may get, from its beginning to its end.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """`waiting`: how many may wait; one more is refused."""

    slots: int
    kv_tokens: int
    waiting: int


class Admission:
    """Requests are numbers here. `begin` and `end` return the numbers that may start now."""

    def __init__(self, rules: AdmissionRules) -> None:
        self.rules = rules
        self._waiting: deque[tuple[int, int]] = deque()
        self._running: dict[int, int] = {}
        self._lost_slots = 0

    @property
    def running(self) -> int:
        """Replies being written."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def kv_ratio(self) -> float:
        """Share of the KV cache that is taken."""
        return sum(self._running.values()) / self.rules.kv_tokens

    def fits(self, tokens: int) -> bool:
        """Return whether a request of so many tokens could be taken now, if only to wait."""
        starts = not self._waiting and self._has_room(tokens)
        return starts or len(self._waiting) < self.rules.waiting

    def begin(self, number: int, tokens: int) -> list[int]:
        """Take a request in; it is among what is returned unless it has to wait. Only after `fits`."""
        self._waiting.append((number, tokens))
        return self._admit()

    def end(self, number: int) -> list[int]:
        """Take note that a request is over: answered, cancelled while running, or withdrawn while it waited."""
        if self._running.pop(number, None) is None:
            self._waiting = deque(row for row in self._waiting if row[0] != number)
        return self._admit()

    def lose(self, slots: int) -> list[int]:
        """Have `slots` fewer, 0 for all of them back; return who may start now, when that is more."""
        self._lost_slots = slots
        return self._admit()

    def _admit(self) -> list[int]:
        admitted: list[int] = []
        while self._waiting and self._has_room(self._waiting[0][1]):
            number, tokens = self._waiting.popleft()
            self._running[number] = tokens
            admitted.append(number)
        return admitted

    def _has_room(self, tokens: int) -> bool:
        slots = self.rules.slots - self._lost_slots
        return len(self._running) < slots and sum(self._running.values()) + tokens <= self.rules.kv_tokens
