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


class CutShort(Exception):  # noqa: N818 - the caller's own wish, no error
    """The bell rang before the work was done."""


async def bounded(
    work: Coroutine[Any, Any, T],
    limit_s: float,
    what: Callable[[], str],
    waited_ns: Callable[[], int] = lambda: 0,
    bell: asyncio.Future[None] | None = None,
) -> T:
    """Return the result of `work`; after `limit_s` cancel it and raise GeneratorError with the words of `what`.

    `waited_ns` tells how long it has waited for a place, which counts as no part of the limit. Who sets the result of
    `bell` cuts the work short: CutShort. Cancelled itself, it cancels `work`. Work that does not heed its cancellation
    is left behind: nobody waits for it.
    """
    loop = asyncio.get_running_loop()
    rings = loop.create_future() if bell is None else bell
    limit = _Limit(limit_s, waited_ns, rings)
    task = loop.create_task(work)
    task.add_done_callback(lambda _task: _ring(rings))
    try:
        await rings
        if task.done():
            return task.result()
        if limit.is_over:
            raise GeneratorError(f"{what()} hung: cut after {limit_s:g} s")
        raise CutShort
    finally:
        limit.cancel()
        if not task.done():
            # Its end is of no interest any more, and asyncio would log an error that nobody has asked for.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_S)


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)


class _Limit:
    """Rings when the time is over; one task less than waiting with a time-out takes."""

    def __init__(self, limit_s: float, waited_ns: Callable[[], int], bell: asyncio.Future[None]) -> None:
        self._at_ns = monotonic_ns() + limit_s * 1e9 - waited_ns()
        self._waited_ns = waited_ns
        self._bell = bell
        self.is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._check()

    def _check(self) -> None:
        left_s = (self._at_ns + self._waited_ns() - monotonic_ns()) / 1e9
        if left_s > 0:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._check)
        else:
            self.is_over = True
            _ring(self._bell)

    def cancel(self) -> None:
        """Never ring."""
        if self._timer is not None:
            self._timer.cancel()
