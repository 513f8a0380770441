"""A call whose network changes in the middle of it: what was asked for is taken over, what was counted goes on.

Python has written what the network becomes into a row of `impair_staged`, which the loop takes over between two packets
and frees by setting its `active` to 0.
"""

from typing import Any

from harness.media.hot.impair import INCOMING
from harness.media.hot.jit import compiled

# In the `free_at_ns` of a staged row, which means nothing there: whether the network is to do anything from now on.
ON, OFF = 1, 0


@compiled
def impair_anew(media: Any, index: int, staged: int, direction: int) -> None:
    """Have one direction of a call go through what row `staged` says; draws begin anew, from its seed."""
    becomes = media.impair_staged[staged]
    call = media.calls[index]
    is_on = becomes.free_at_ns
    if direction == INCOMING:
        _take_over(media.impair_in[index], becomes)
        call.impaired_in = is_on
    else:
        _take_over(media.impair_out[index], becomes)
        call.impaired_out = is_on
    becomes.active = 0


@compiled
def _take_over(row: Any, becomes: Any) -> None:
    row.loss = becomes.loss
    row.is_bursty = becomes.is_bursty
    row.to_bad = becomes.to_bad
    row.to_good = becomes.to_good
    row.loss_good = becomes.loss_good
    row.loss_bad = becomes.loss_bad
    row.delay_ns = becomes.delay_ns
    row.jitter = becomes.jitter
    row.jitter_ns = becomes.jitter_ns
    row.keep_order = becomes.keep_order
    row.reorder = becomes.reorder
    row.reorder_ns = becomes.reorder_ns
    row.duplicate = becomes.duplicate
    row.bits_per_s = becomes.bits_per_s
    row.queue_ns = becomes.queue_ns
    row.random = becomes.random
    row.report_random = becomes.report_random
    row.is_bad = becomes.is_bad
    # A bottleneck begins empty; packets in order still come out behind those before them.
    row.free_at_ns = 0
    row.active = becomes.free_at_ns
