"""A stream whose work is slower: every piece of it comes later by the factor, not the first one alone."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from harness.model.clock import NS_PER_MS, NS_PER_S
from target_stack.chaos.fault import loop_ns
from target_stack.chaos.stage_kinds import Slow

# When it came, and a piece; None: the end; or what was raised.
_Arrival = tuple[int, str | Exception | None]


async def stretched(pieces: AsyncGenerator[str], slows: Sequence[Slow]) -> AsyncGenerator[str]:
    """Yield the first piece as it comes, each other one as late as slower work would have had it.

    Counted from here, and read ahead: a source that goes on while we hold a piece back would hide how slow it was. The
    first piece is held by who asks, with all that a request meets. When the faults are over the rest comes at once.
    """
    begun_ns = loop_ns()
    arrivals: asyncio.Queue[_Arrival] = asyncio.Queue()
    reading = asyncio.create_task(_read(pieces, arrivals))
    # By how much the last piece was late; None before the first.
    late_ns: int | None = None
    try:
        while True:
            at_ns, piece = await arrivals.get()
            if isinstance(piece, Exception):
                raise piece
            if late_ns is None:
                late_ns = _more_ns(slows, begun_ns, at_ns)
            else:
                late_ns = max(late_ns, await _hold(slows, begun_ns, at_ns, late_ns))
            if piece is None:
                return
            yield piece
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(pieces: AsyncGenerator[str], arrivals: asyncio.Queue[_Arrival]) -> None:
    try:
        async for piece in pieces:
            arrivals.put_nowait((loop_ns(), piece))
    except Exception as error:  # noqa: BLE001 - raised again where the stream is read
        arrivals.put_nowait((loop_ns(), error))
    else:
        arrivals.put_nowait((loop_ns(), None))


def _more_ns(slows: Sequence[Slow], begun_ns: int, at_ns: int) -> int:
    """Return by how much later work that is slower by all of them would have come so far."""
    return round(sum(slow.more_s((at_ns - begun_ns) / NS_PER_S) for slow in slows) * NS_PER_S)


async def _hold(slows: Sequence[Slow], begun_ns: int, at_ns: int, late_ns: int) -> int:
    """Wait until then, and count what is more than `late_ns`; return how late it has become."""
    counted = slows[0]
    while alive := [slow for slow in slows if not slow.over.is_set()]:
        counted = alive[0]
        left_ns = at_ns + _more_ns(alive, begun_ns, at_ns) - loop_ns()
        if left_ns <= 0:
            break
        await counted.hold(left_ns / NS_PER_S)
    held_ns = loop_ns() - at_ns
    counted.tally.counts["delay_ms"] += round(max(0, held_ns - late_ns) / NS_PER_MS)
    return held_ns
