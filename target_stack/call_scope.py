"""Which call the running task works for, for stages that all calls share.

A session sets the scope in the task that answers a turn; tasks started from there inherit it. Whoever works for many
calls at once (a batch) runs outside any scope.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from target_stack.context.memory import CallMemory

# What a request is for. final: the turn is over and waits for it. draft: the user paused, and may be done. part: the
# user speaks on, a stretch of what was said can be settled. partial: words for who reads along; worth no wait.
Work = Literal["final", "draft", "part", "partial"]


@dataclass(slots=True)
class CallScope:
    """One turn of one call; changed by its own call only."""

    call_id: str
    turn: int
    # Since when the caller has been waiting; in the future where he still hears what was said before.
    waiting_since_ns: int
    work: Work = "final"
    # What the language model is told of earlier turns; None outside of calls.
    memory: CallMemory | None = None


_scope: ContextVar[CallScope | None] = ContextVar("callquake_call_scope", default=None)


def enter_scope(scope: CallScope) -> None:
    """Work for this call from here on, in this task and those it starts."""
    _scope.set(scope)


def call_scope() -> CallScope | None:
    """Return the call that this task works for; None outside of calls, as in a warm-up."""
    return _scope.get()
