"""The 20 ms beat of all lines of an edge: one task, absolute deadlines."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from target_stack.edge.playout import FRAME_MS

_log = logging.getLogger(__name__)
_TICK_NS = FRAME_MS * 1_000_000
# After a stall longer than this the beat jumps instead of bursting the missed packets.
_MAX_LATENESS_NS = 200 * 1_000_000

# Called with the number of the tick: its difference is how much time has passed, in packets.
OnTick = Callable[[int], None]


class Ticker:
    """Lines join and leave at any time; the task runs only while there are any."""

    def __init__(self) -> None:
        self._lines: dict[OnTick, None] = {}
        self._task: asyncio.Task[None] | None = None
        # Ticks that were skipped because this process was held up.
        self.skipped = 0

    def add(self, on_tick: OnTick) -> None:
        """Call `on_tick` from the next tick on."""
        self._lines[on_tick] = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="rtp ticker")

    def remove(self, on_tick: OnTick) -> None:
        """Call it no more."""
        self._lines.pop(on_tick, None)

    async def aclose(self) -> None:
        """Stop the beat."""
        self._lines.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        number, started_at_ns = 0, time.monotonic_ns()
        while self._lines:
            late_ns = time.monotonic_ns() - (started_at_ns + number * _TICK_NS)
            if late_ns > _MAX_LATENESS_NS:
                self.skipped += late_ns // _TICK_NS
                number += late_ns // _TICK_NS
            elif late_ns < 0:
                await asyncio.sleep(-late_ns / 1e9)
            for on_tick in tuple(self._lines):
                try:
                    on_tick(number)
                except Exception:  # noqa: BLE001 -- one line's fault must not silence the others
                    _log.exception("a line could not send; it is left out from here on")
                    self.remove(on_tick)
            number += 1
            # Others have their turn even when this is late.
            await asyncio.sleep(0)
