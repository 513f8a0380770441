"""An end to work that ought to end by itself: what hangs is cut, so that every call leaves its row."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from harness.model.clock import monotonic_ns
from harness.model.errors import GeneratorError

T = TypeVar("T")

# Steps have limits of their own; what is still under way so long after them hangs by a fault of ours.
GRACE_S = 2.0
# So long a cancelled task may take to clean up; then it is left behind.
_CANCEL_S = 1.0


async def bounded(
    work: Coroutine[Any, Any, T], limit_s: float, what: Callable[[], str], waited_ns: Callable[[], int] = lambda: 0
) -> T:
    """Return the result of `work`; after `limit_s` cancel it and raise GeneratorError with the words of `what`.

    `waited_ns` tells how long it has waited for a place, which counts as no part of the limit. Cancelled itself, it
    cancels `work`. Work that does not heed its cancellation is left behind: nobody waits for it.
    """
    task = asyncio.ensure_future(work)
    limit_ns = monotonic_ns() + limit_s * 1e9 - waited_ns()
    try:
        while not task.done():
            left_s = (limit_ns + waited_ns() - monotonic_ns()) / 1e9
            if left_s <= 0:
                raise GeneratorError(f"{what()} hung: cut after {limit_s:g} s")
            await asyncio.wait({task}, timeout=left_s)
        return task.result()
    finally:
        if not task.done():
            # Its end is of no interest any more, and asyncio would log an error that nobody has asked for.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_S)
