"""One 20 ms clock for all media streams of an engine: absolute deadlines, calls spread over phases, lateness measured.

    deadline n x 5 ms:  timerfd -> event loop -> the calls of phase n mod 4, one after the other

A call has a tick each 20 ms. Ticks that were held up are all made up for: a stream over TCP has no packets to lose, and
the agent is owed every one of its frames. How late each had left is kept.
"""

import asyncio
import ctypes
import logging
import os
from dataclasses import dataclass, field
from typing import Protocol

from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from harness.model.errors import GeneratorError
from harness.model.histogram import Histogram

PHASES = 4
STEP_NS = 5 * NS_PER_MS
TICK_NS = PHASES * STEP_NS
# timerfd_create(2); os.timerfd_create is there from Python 3.13 on.
_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC, _ABSTIME = 1, 0o2004000, 1
_logger = logging.getLogger(__name__)


class Ticked(Protocol):
    """What has a tick each 20 ms."""

    def tick(self, due_ns: int) -> int:
        """Send what is due; return how many packets of 20 ms left by it."""


@dataclass(slots=True)
class TickerStats:
    """Since the last `take_stats`."""

    # How long after its deadline each 20 ms packet had left.
    lateness_ms: Histogram = field(default_factory=Histogram)


class _TimerSpec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class StreamTicker:
    """All methods belong on the event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._phases: list[dict[Ticked, None]] = [{} for _ in range(PHASES)]
        self._phase_of: dict[Ticked, int] = {}
        self._fd = -1
        # The number of the last deadline that was kept.
        self._last = 0
        self._stats = TickerStats()

    def add(self, member: Ticked) -> None:
        """Tick `member` from its next deadline on."""
        phase = min(range(PHASES), key=lambda p: len(self._phases[p]))
        self._phases[phase][member] = None
        self._phase_of[member] = phase
        if self._fd < 0:
            self._start()

    def remove(self, member: Ticked) -> None:
        """Do not tick `member` any more."""
        phase = self._phase_of.pop(member, None)
        if phase is not None:
            del self._phases[phase][member]
        if not self._phase_of:
            self.close()

    def take_stats(self) -> TickerStats:
        """Return what was measured since the last call."""
        stats, self._stats = self._stats, TickerStats()
        return stats

    def close(self) -> None:
        """Stop ticking."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _start(self) -> None:
        fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if fd < 0:
            raise GeneratorError(f"no timer for media streams: {os.strerror(ctypes.get_errno())}")
        self._last = monotonic_ns() // STEP_NS
        first_ns = (self._last + 1) * STEP_NS
        spec = _TimerSpec(0, STEP_NS, first_ns // NS_PER_S, first_ns % NS_PER_S)
        self._libc.timerfd_settime(fd, _ABSTIME, ctypes.byref(spec), None)
        self._fd = fd
        self._loop.add_reader(fd, self._on_timer)

    def _on_timer(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        now = monotonic_ns() // STEP_NS
        while self._last < now and self._fd >= 0:
            self._last += 1
            self._tick(self._phases[self._last % PHASES], self._last * STEP_NS)

    def _tick(self, members: dict[Ticked, None], due_ns: int) -> None:
        add = self._stats.lateness_ms.add
        for member in list(members):
            if member not in members:
                continue
            try:
                sent = member.tick(due_ns)
            except Exception:
                _logger.exception("a media stream's tick failed; those of other calls go on")
                self.remove(member)
                continue
            if sent:
                late_ms = (monotonic_ns() - due_ns) / NS_PER_MS
                for _ in range(sent):
                    add(late_ms)
