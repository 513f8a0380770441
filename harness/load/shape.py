"""Scenario load as Locust shapes. Locust asks once a second how many users there should be; None ends the test.

A user is a slot for one call at a time. In open loop there must always be a waiting slot when a call falls due, so the
number of users follows the schedule and never shrinks: taking a user away could take away a call.
"""

import bisect
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from locust import LoadTestShape

from harness.scenario.schema import UserStage

# Users stand ready for every call due within this time; two shape ticks and a spawning batch fit in it.
HORIZON_S = 5.0
# Locust warns above 100 users a second.
MAX_SPAWN_RATE = 100.0


class RunState(Protocol):
    """What a shape has to know of the run."""

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since the first instant a call could be due, None before the engine is ready."""

    @property
    def ended(self) -> int:
        """Calls that have ended."""

    @property
    def is_over(self) -> bool:
        """Nothing left to wait for."""

    @property
    def longest_call_s(self) -> float:
        """How long a call begun last may take."""

    def cut(self, note: str) -> None:
        """End the run now, as planned, and say so."""

    def place_no_more(self) -> None:
        """Let the calls in progress end and begin none."""


Tick = tuple[int, float] | None


class _PlannedShape(LoadTestShape):
    abstract: ClassVar[bool] = True

    def __init__(self, state: Callable[[], RunState | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._state = state

    def tick(self) -> Tick:
        """Return (users, users a second), None to end the test."""
        state = self._state()
        if state is None or state.elapsed_s is None:
            if state is not None and state.is_over:
                return None
            # A second `start` would cut off the one that is preparing the run, so this answer stays the same.
            return self._first()
        return None if state.is_over else self._next(state, state.elapsed_s)

    def _first(self) -> Tick:
        raise NotImplementedError

    def _next(self, state: RunState, elapsed_s: float) -> Tick:
        raise NotImplementedError


class ArrivalShape(_PlannedShape):
    """Open loop: enough users for every call that has not ended and is due soon."""

    abstract = False

    def __init__(self, state: Callable[[], RunState | None], due_ms: Sequence[float]) -> None:
        super().__init__(state)
        self._due_ms = due_ms
        self._users = 0

    def reset_time(self) -> None:
        """Begin a new test."""
        super().reset_time()  # type: ignore[no-untyped-call]
        self._users = 0

    def _first(self) -> Tick:
        return self._due_until(0.0), MAX_SPAWN_RATE

    def _next(self, state: RunState, elapsed_s: float) -> Tick:
        last_s = self._due_ms[-1] / 1000
        if elapsed_s > last_s + state.longest_call_s:
            state.cut("the time of the run was over")
            return None
        self._users = max(self._users, self._due_until(elapsed_s) - state.ended)
        return self._users, MAX_SPAWN_RATE

    def _due_until(self, elapsed_s: float) -> int:
        return max(1, bisect.bisect_right(self._due_ms, (elapsed_s + HORIZON_S) * 1000))


class UserShape(_PlannedShape):
    """Closed loop: the scenario's stages, then the calls in progress are let end."""

    abstract = False

    def __init__(self, state: Callable[[], RunState | None], stages: Sequence[UserStage]) -> None:
        super().__init__(state)
        self._stages = stages
        self._total_s = sum(stage.duration_s for stage in stages)

    def _first(self) -> Tick:
        return self._stages[0].users, self._stages[0].spawn_rate

    def _next(self, state: RunState, elapsed_s: float) -> Tick:
        left_s = elapsed_s
        for stage in self._stages:
            if left_s < stage.duration_s:
                return stage.users, stage.spawn_rate
            left_s -= stage.duration_s
        state.place_no_more()
        if elapsed_s > self._total_s + state.longest_call_s:
            state.cut("the time of the run was over")
            return None
        return self._stages[-1].users, self._stages[-1].spawn_rate
