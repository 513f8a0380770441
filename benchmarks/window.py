"""Measures callers over a window of steady state."""

import time

from benchmarks.accounting import busy_ns, read_cpu
from benchmarks.network import read_udp
from benchmarks.processes import Callers
from benchmarks.sample import Sample


def measure(callers: Callers, seconds: float, settle_s: float, core: int | None) -> Sample:
    """Let the calls settle, then count `seconds` of their steady state."""
    time.sleep(settle_s)
    counts, counted = callers.count(), time.monotonic()
    udp, busy = read_udp(), busy_ns(core) if core is not None else 0
    cpu, began = read_cpu(callers.pid), time.monotonic()
    time.sleep(seconds)
    cpu_ns, elapsed = read_cpu(callers.pid).since(cpu), time.monotonic() - began
    busy_s = (busy_ns(core) - busy) / 1e9 if core is not None else None
    udp_now, counts_now = read_udp().since(udp), callers.count()
    counted_s = time.monotonic() - counted
    return Sample(
        calls=counts_now.calls,
        seconds=elapsed,
        counted_s=counted_s,
        cpu_s=cpu_ns / 1e9,
        core_busy_s=busy_s,
        sent=_grown(counts.sent, counts_now.sent),
        received=_grown(counts.received, counts_now.received),
        udp_delivered=udp_now.delivered,
        udp_dropped=udp_now.dropped,
        more=_grown_counts(counts.more, counts_now.more),
    )


def _grown(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else now - before


def _grown_counts(before: dict[str, object], now: dict[str, object]) -> dict[str, object]:
    """Whole numbers are counters and told by their growth; everything else as it is at the end."""
    grown = dict(now)
    for name, value in now.items():
        first = before.get(name)
        if type(value) is int and type(first) is int:
            grown[name] = value - first
    return grown
