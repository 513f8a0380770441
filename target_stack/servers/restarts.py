"""How long a media server that died waits for its next process. Pure: time is an argument, in ns."""

from dataclasses import dataclass

from harness.model.clock import NS_PER_S
from target_stack.routing.backoff import doubled


@dataclass(frozen=True, slots=True)
class RestartRules:
    """Exponential backoff, forgotten once a process has lived long enough."""

    first_s: float = 0.5
    most_s: float = 30.0
    healthy_after_s: float = 60.0


class Restarts:
    """The deaths of one server."""

    def __init__(self, rules: RestartRules = RestartRules()) -> None:
        self._rules = rules
        self._in_a_row = 0
        self._begun_ns = 0

    def begun(self, now_ns: int) -> None:
        """Take note that a process began."""
        self._begun_ns = now_ns

    def died(self, now_ns: int) -> float:
        """Take note that it ended unasked; return after how many seconds the next may begin."""
        if now_ns - self._begun_ns >= self._rules.healthy_after_s * NS_PER_S:
            self._in_a_row = 0
        wait_s = doubled(self._rules.first_s, self._in_a_row, self._rules.most_s)
        self._in_a_row += 1
        return wait_s
