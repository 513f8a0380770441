"""What the loop has counted of its calls, read from its tables while it goes on counting."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from harness.media.hot.impair import IMPAIR
from harness.media.hot.jit import INTERPRETED
from harness.media.hot.layout import CALL, PORT, RECEPTION, Media
from harness.model.records import MediaStats

_NS_PER_MS = 1_000_000

# Sent packets, received packets and refused ones.
Sums = tuple[int, int, int]


class Impaired(NamedTuple):
    """RTP packets that passed the emulated network, and what became of them; `queue_lost` is part of `lost`."""

    packets: int = 0
    lost: int = 0
    queue_lost: int = 0
    delayed: int = 0
    duplicated: int = 0
    reordered: int = 0


def _fields_of(table: Any, row: np.dtype[Any], *names: str) -> Callable[[int], tuple[Any, ...]]:
    """Return what reads the named fields of one row, all at once: one by one they take several times as long."""
    if INTERPRETED:
        return lambda index: tuple(table[index][name] for name in names)
    fields: Callable[[int], tuple[Any, ...]] = table.view(np.ndarray).view(row)[list(names)].item
    return fields


class CallCounts:
    """Reads one call's counts, or sums of many."""

    def __init__(self, media: Media) -> None:
        self._call = _fields_of(
            media.calls, CALL,
            "packets_sent", "packets_received", "send_errors", "bad_packets", "clock_rate", "round_trip_ns", "port",
        )  # fmt: skip
        self._reception = _fields_of(
            media.receptions, RECEPTION,
            "current", "base", "highest", "received", "closed_expected", "discarded", "jitter",
        )  # fmt: skip
        self._sums = _fields_of(media.calls, CALL, "packets_sent", "packets_received", "send_errors")
        self._drops = _fields_of(media.ports, PORT, "drops")
        self._impaired_out = _fields_of(media.impair_out, IMPAIR, *Impaired._fields)
        self._impaired_in = _fields_of(media.impair_in, IMPAIR, *Impaired._fields)
        self._lost_outgoing = _fields_of(media.impair_out, IMPAIR, "lost")
        self._lost_incoming = _fields_of(media.impair_in, IMPAIR, "lost")

    def of(self, index: int) -> MediaStats:
        """Return all counts of the call in row `index`."""
        packets_sent, packets_received, send_errors, bad_packets, clock_rate, round_trip_ns, port = self._call(index)
        current, base, highest, received, closed_expected, discarded, jitter = self._reception(index)
        expected = highest - base + 1 if current else 0
        return MediaStats(
            packets_sent=packets_sent,
            packets_received=packets_received,
            packets_lost=max(0, closed_expected + expected - received),
            packets_discarded=discarded + bad_packets,
            jitter_ms=float(jitter) * 1000 / clock_rate if received > 1 else None,
            round_trip_ms=round_trip_ns / _NS_PER_MS if round_trip_ns else None,
            send_errors=send_errors,
            socket_drops=self._drops(port)[0],
            impaired_lost_outgoing=self._lost_outgoing(index)[0],
            impaired_lost_incoming=self._lost_incoming(index)[0],
        )

    def impaired(self, index: int) -> Impaired:
        """Return what the emulated network has done to the call in row `index`, both directions together."""
        out, incoming = self._impaired_out(index), self._impaired_in(index)
        return Impaired(*(a + b for a, b in zip(out, incoming, strict=True)))

    def sums(self, indices: Iterable[int], begin: Sums = (0, 0, 0)) -> Sums:
        """Return the sums over the calls in these rows, added to `begin`."""
        sent, received, refused = begin
        for index in indices:
            of_one = self._sums(index)
            sent += of_one[0]
            received += of_one[1]
            refused += of_one[2]
        return sent, received, refused
