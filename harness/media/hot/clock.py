"""Time for the loop: the monotonic clock, sleeping to an absolute instant, and where the wall clock stands to it."""

from typing import Any

from harness.media.hot import native
from harness.media.hot.jit import compiled
from harness.media.hot.layout import NEXT_OFFSET_NS, OFFSET_NS, Counter

_REALTIME, _MONOTONIC = 0, 1
_TIMER_ABSTIME = 1
_NS = 1_000_000_000
_OFFSET_REFRESH_NS = 250_000_000
_SAMPLES = 3


@compiled
def _read(clock: int, timespec: Any) -> int:
    native.clock_gettime(clock, timespec.ctypes.data)
    return timespec[0] * _NS + timespec[1]


@compiled
def monotonic_ns(media: Any) -> int:
    """Return the time now."""
    return _read(_MONOTONIC, media.clock)


@compiled
def sleep_until(media: Any, at_ns: int) -> None:
    """Sleep to an absolute instant; returns at once when it has passed."""
    media.clock[0] = at_ns // _NS
    media.clock[1] = at_ns % _NS
    native.clock_nanosleep(_MONOTONIC, _TIMER_ABSTIME, media.clock.ctypes.data, 0)


@compiled
def sample_offset(media: Any) -> int:
    """Return CLOCK_REALTIME minus CLOCK_MONOTONIC, from the narrowest of a few pairs of reads."""
    best_width = _NS
    best = 0
    for _ in range(_SAMPLES):
        before = _read(_MONOTONIC, media.clock)
        real = _read(_REALTIME, media.clock)
        after = _read(_MONOTONIC, media.clock)
        if after - before < best_width:
            best_width = after - before
            best = real - (before + after) // 2
    return best


@compiled
def refresh_offset(media: Any, now_ns: int) -> None:
    """Sample the offset again when due; kernel stamps are wall-clock times and are shifted by it.

    A step of the wall clock between two samples would shift stamps; its size is kept.
    """
    if now_ns < media.cells[NEXT_OFFSET_NS]:
        return
    offset = sample_offset(media)
    if media.cells[OFFSET_NS] != 0:
        step = abs(offset - media.cells[OFFSET_NS])
        media.counters[Counter.CLOCK_STEP_NS] = max(media.counters[Counter.CLOCK_STEP_NS], step)
    media.cells[OFFSET_NS] = offset
    media.cells[NEXT_OFFSET_NS] = now_ns + _OFFSET_REFRESH_NS
