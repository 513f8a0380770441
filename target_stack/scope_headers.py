"""What a request to a speech server says of its call, so that the server's queue orders it as the agent's would.

X-Call-Id              whose request it is
X-Callquake-Waiting-Ms how long the caller has been waiting; below 0: he still hears what was said before
X-Callquake-Work       final, draft, part or partial (target_stack/call_scope.py)

And what the answer says: X-Callquake-Queue-Ms and X-Callquake-Work-Ms, waiting apart from work.
"""

from collections.abc import Mapping
from typing import cast, get_args

from harness.model.clock import NS_PER_MS
from target_stack.call_scope import CallScope, Work

CALL = "X-Call-Id"
WAITING = "X-Callquake-Waiting-Ms"
WORK = "X-Callquake-Work"
QUEUE_MS = "X-Callquake-Queue-Ms"
WORK_MS = "X-Callquake-Work-Ms"
# Clients of OpenAI's read it beside Retry-After, which has whole seconds.
RETRY_AFTER_MS = "retry-after-ms"
# Ten minutes; who claims to have waited for longer is no caller.
_MOST_WAITING_MS = 600_000.0
_LONGEST_NAME = 128


def headers_of(scope: CallScope | None, now_ns: int) -> dict[str, str]:
    """Return what a request of this call says; {} outside of calls."""
    if scope is None:
        return {}
    waiting_ms = (now_ns - scope.waiting_since_ns) / NS_PER_MS
    return {CALL: scope.call_id, WAITING: f"{waiting_ms:.0f}", WORK: scope.work}


def scope_of(headers: Mapping[str, str], now_ns: int) -> CallScope | None:
    """Return the call that a request is of; None where it does not say. What cannot be read counts as not said."""
    waiting_ms = number(headers.get(WAITING))
    work = headers.get(WORK, "final")
    if waiting_ms is None or work not in get_args(Work):
        return None
    held = max(-_MOST_WAITING_MS, min(_MOST_WAITING_MS, waiting_ms))
    return CallScope(headers.get(CALL, "")[:_LONGEST_NAME], 0, now_ns - round(held * NS_PER_MS), cast("Work", work))


def number(text: str | None) -> float | None:
    """Return a finite number, None for anything else."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < float("inf") else None
