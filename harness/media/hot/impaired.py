"""Datagrams that the emulated network holds back: into the delay line, and out of it when they are due."""

from typing import Any

from harness.media.hot import native
from harness.media.hot.batch import NO_TICK, commit_report, commit_slot, open_report, open_slot, slot_address
from harness.media.hot.impair import INCOMING, OUTGOING, line_put
from harness.media.hot.jit import compiled
from harness.media.hot.layout import Counter


@compiled
def delay_datagram(
    media: Any, index: int, is_outgoing: bool, at_ns: int, delay_ns: int, source: int, length: int
) -> None:
    """Hold a datagram back for `delay_ns`; one that finds the line full is lost, and counted as our loss."""
    direction = OUTGOING if is_outgoing else INCOMING
    # For whoever takes it out it has arrived when it is due.
    if line_put(media.line, at_ns + delay_ns, index, direction, at_ns + delay_ns, source, length) != 0:
        media.counters[Counter.LINE_FULL] += 1


@compiled
def send_held(media: Any, index: int, kind: int, source: int, length: int, now_ns: int) -> None:
    """Send a held datagram of a call as it is; `kind` is its second byte."""
    # RFC 5761: RTCP has types 192..223 in the second byte.
    is_rtcp = 192 <= kind <= 223
    slot = open_report(media, index, now_ns) if is_rtcp else open_slot(media, media.calls[index].port, now_ns)
    native.memcpy(slot_address(media, slot), source, length)
    if is_rtcp:
        commit_report(media, index, length)
    else:
        commit_slot(media, index, length, 0, NO_TICK, -1)
