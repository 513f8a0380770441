"""Once a second: whether this engine could keep time, and what it lost of its own."""

import asyncio
import resource
import time
from pathlib import Path

from harness.callers.media_stream_host import StreamHost
from harness.callers.sip_host import SipHost
from harness.media.loop import MediaLoop
from harness.model.clock import NS_PER_MS, monotonic_ns, ms_between
from harness.model.records import HealthSample

_STAT = Path("/proc/stat")
_OWN_MEMORY = Path("/proc/self/statm")
_OWN_DESCRIPTORS = Path("/proc/self/fd")
_PAGE_BYTES = resource.getpagesize()


def _host_cpu() -> tuple[int, int]:
    """Return (busy, total) jiffies of the whole machine; (0, 0) where /proc is absent."""
    try:
        fields = [int(v) for v in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _memory_mib() -> float | None:
    try:
        return int(_OWN_MEMORY.read_text().split()[1]) * _PAGE_BYTES / 2**20
    except (OSError, ValueError, IndexError):
        return None


def _descriptors() -> int | None:
    try:
        # Linux 6.2 and newer count them for us; listing thousands takes milliseconds of the event loop.
        return _OWN_DESCRIPTORS.stat().st_size or sum(1 for _ in _OWN_DESCRIPTORS.iterdir())
    except OSError:
        return None


class HealthMeter:
    """Takes a sample per second; differences of CPU time and of the lateness of media loop and media streams."""

    def __init__(
        self, worker: str, media_loop: MediaLoop, streams: StreamHost | None = None, sip: SipHost | None = None
    ) -> None:
        self._worker = worker
        self._media_loop = media_loop
        self._streams = streams
        self._sip = sip
        self._sip_dropped = 0
        self._last_ns = monotonic_ns()
        self._last_cpu = time.process_time()
        self._last_host = _host_cpu()

    def sample(self, calls_active: int, loop_lag_ms: float) -> HealthSample:
        """Return what happened since the last sample."""
        now, cpu, host = monotonic_ns(), time.process_time(), _host_cpu()
        stats = self._media_loop.take_stats()
        if self._streams is not None:
            streams = self._streams.take_stats()
            stats.tick_lateness_ms.merge(streams.lateness_ms)
            stats.ticks += streams.lateness_ms.n
            stats.packets_sent += streams.packets_sent
            stats.packets_received += streams.packets_received
            stats.clock_step_ns = max(stats.clock_step_ns, streams.clock_step_ns)
        if self._sip is not None:
            # Signalling that the kernel dropped for want of buffer was lost by us, as audio is.
            dropped = self._sip.dropped
            stats.socket_drops += dropped - self._sip_dropped
            self._sip_dropped = dropped
        interval_ms = ms_between(self._last_ns, now)
        host_total = host[1] - self._last_host[1]
        result = HealthSample(
            worker=self._worker,
            at_ns=now,
            interval_ms=interval_ms,
            calls_active=calls_active,
            ticks=stats.ticks,
            tick_lateness_ms=stats.tick_lateness_ms.to_json(),
            cpu_ratio=(cpu - self._last_cpu) * 1000 / interval_ms if interval_ms > 0 else 0.0,
            host_cpu_ratio=(host[0] - self._last_host[0]) / host_total if host_total > 0 else 0.0,
            packets_sent=stats.packets_sent,
            packets_received=stats.packets_received,
            send_errors=stats.send_errors,
            socket_drops=stats.socket_drops,
            loop_lag_ms=loop_lag_ms,
            clock_step_ms=stats.clock_step_ns / NS_PER_MS,
            overflows=stats.overflows,
            memory_mib=_memory_mib(),
            descriptors=_descriptors(),
            descriptor_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            media_loop=self._media_loop.mode,
        )
        self._last_ns, self._last_cpu, self._last_host = now, cpu, host
        return result


async def sleep_and_measure_lag(seconds: float) -> float:
    """Sleep; return by how many ms the event loop woke late."""
    due = monotonic_ns() + int(seconds * 1000) * NS_PER_MS
    await asyncio.sleep(seconds)
    return max(0.0, ms_between(due, monotonic_ns()))
