"""Datagrams from and to the kernel, in batches, with its receive times; the only place with a clock and a socket."""

from typing import Any

from harness.callers.plain.hot.jit import compiled
from harness.callers.plain.hot.layout import (
    ADDRESS_BYTES,
    CONTROL_BYTES,
    MOST_TOLD,
    READ_AT_ONCE,
    SEND_AT_ONCE,
    Cell,
    Told,
)
from harness.callers.plain.hot.machine import fire_one, take, tell
from harness.media.hot import native

_DONTWAIT, _NOSIGNAL = 0x40, 0x4000
_MONOTONIC, _NS = 1, 1_000_000_000
_SOL_SOCKET, _TIMESTAMPNS, _RXQ_OVFL = 1, 35, 40
_HEADER_BYTES = 64
# What one timer or one datagram may put into the outbox, and tell.
_MOST_AT_ONCE = 4


@compiled
def monotonic_ns(tables: Any) -> int:
    """Return the time now."""
    native.clock_gettime(_MONOTONIC, tables.clock.ctypes.data)
    return int(tables.clock[0] * _NS + tables.clock[1])


@compiled
def flush(tables: Any) -> None:
    """Send what the outbox holds, and stamp each request with when it left, its share of the batch's time."""
    cells = tables.cells
    count = cells[Cell.OUT]
    if count == 0:
        return
    before = monotonic_ns(tables)
    at = 0
    while at < count:
        at += _send_some(tables, at, count)
    took = monotonic_ns(tables) - before
    for i in range(count):
        if tables.out_stamps[i, 1]:
            tables.calls[tables.out_stamps[i, 0], tables.out_stamps[i, 1]] = before + took * i // count
    cells[Cell.OUT] = 0


@compiled
def _send_some(tables: Any, at: int, count: int) -> int:
    """Return how many datagrams from there on are done with: sent, or told to be unsent."""
    cells = tables.cells
    headers = tables.out_headers.ctypes.data + _HEADER_BYTES * at
    for _ in range(2):
        # An ICMP error of an earlier datagram is told at the next send, which itself is not tried: try once more.
        sent = native.sendmmsg(cells[Cell.FD], headers, count - at, _DONTWAIT | _NOSIGNAL)
        cells[Cell.SENDS] += 1
        if sent > 0:
            cells[Cell.SENT] += sent
            return int(sent)
    tell(tables, Told.UNSENT, tables.out_stamps[at, 0], 0, 0)
    return 1


@compiled
def fire(tables: Any, now_ns: int) -> bool:
    """Serve the timers that are due; True when there may be more: what was told must be taken before."""
    while fire_one(tables, now_ns):
        if tables.cells[Cell.OUT] > SEND_AT_ONCE - _MOST_AT_ONCE:
            flush(tables)
        if tables.cells[Cell.TOLD] > MOST_TOLD - 4 * SEND_AT_ONCE:
            flush(tables)
            return True
    flush(tables)
    return False


@compiled
def read(tables: Any, now_ns: int) -> int:
    """Take what came, at most READ_AT_ONCE datagrams; return how many, -1 where nothing came or an error did."""
    headers = tables.in_headers
    count = native.recvmmsg(tables.cells[Cell.FD], headers.ctypes.data, READ_AT_ONCE, _DONTWAIT, 0)
    tables.cells[Cell.READS] += 1
    for i in range(count):
        at_ns = _arrived_at(tables, i, now_ns)
        take(tables, i, tables.in_data[i], headers[i, 7] & 0xFFFFFFFF, at_ns, now_ns)
        headers[i, 1], headers[i, 5] = ADDRESS_BYTES, CONTROL_BYTES
        if tables.cells[Cell.OUT] > SEND_AT_ONCE - _MOST_AT_ONCE:
            flush(tables)
    flush(tables)
    return int(count)


@compiled
def _arrived_at(tables: Any, place: int, now_ns: int) -> int:
    """Return the kernel's receive time, never after `now_ns`; note how many datagrams it has dropped so far."""
    control, cells = tables.in_control[place], tables.cells
    words, at, found = tables.in_headers[place, 5] // 8, 0, now_ns
    while at + 2 < words:
        length, kind = control[at], control[at + 1]
        if length < 16:
            break
        if kind == _SOL_SOCKET | (_TIMESTAMPNS << 32) and at + 3 < words:
            found = min(now_ns, control[at + 2] * _NS + control[at + 3] - cells[Cell.OFFSET])
        elif kind == _SOL_SOCKET | (_RXQ_OVFL << 32):
            cells[Cell.DROPS] = max(cells[Cell.DROPS], control[at + 2] & 0xFFFFFFFF)
        at += (length + 7) // 8
    return found
