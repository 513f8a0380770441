"""From an `Impairment` to the row that the loop decides by (hot/impair.py), and from the row to its counts."""

from typing import Any

from harness.media.hot import impair, reimpair
from harness.media.hot.jit import clear_row
from harness.model.impairment import Bandwidth, BurstLoss, Impairment, Jitter

__all__ = ["Bandwidth", "BurstLoss", "Impairment", "Jitter", "StagedRows", "fill_row", "stage_row"]

_NS_PER_MS = 1_000_000
_JITTERS = {"uniform": impair.UNIFORM, "normal": impair.NORMAL}
_SEED_MIX = 0x9E3779B97F4A7C15


def fill_row(row: Any, impairment: Impairment | None) -> None:
    """Set an IMPAIR row to do what `impairment` says, from its seed on; None = leave the packets alone."""
    clear_row(row, impair.IMPAIR)
    if impairment is None:
        return
    row.active = 1
    row.loss = _threshold(impairment.loss_ratio)
    row.delay_ns = _ns(impairment.delay_ms)
    row.reorder = _threshold(impairment.reorder_ratio)
    row.reorder_ns = _ns(impairment.reorder_ms)
    row.duplicate = _threshold(impairment.duplicate_ratio)
    row.random = _random_state(impairment.seed)
    row.report_random = _random_state(~impairment.seed)
    if impairment.jitter is not None and impairment.jitter.ms:
        row.jitter = _JITTERS[impairment.jitter.distribution]
        row.jitter_ns = _ns(impairment.jitter.ms)
        row.keep_order = int(impairment.jitter.reorder == "kept")
    if impairment.bandwidth is not None:
        row.bits_per_s = round(impairment.bandwidth.kbps * 1000)
        row.queue_ns = _ns(impairment.bandwidth.queue_ms)
    if impairment.burst_loss is not None:
        _fill_burst_loss(row, impairment.burst_loss)


def stage_row(row: Any, impairment: Impairment | None) -> None:
    """Fill a staged row with what a network becomes in the middle of a call (hot/reimpair.py); None = as it is."""
    fill_row(row, impairment)
    row.free_at_ns = reimpair.OFF if impairment is None else reimpair.ON
    # Taken until the loop says otherwise.
    row.active = 1


class StagedRows:
    """Which staged rows are free: the loop takes them over in order, so the oldest is free first."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._next = 0

    def take(self) -> int:
        """Return a free row, -1 while every one waits for the loop."""
        at = self._next
        if self._rows[at].active:
            return -1
        self._next = (at + 1) % len(self._rows)
        return at


def _fill_burst_loss(row: Any, burst_loss: BurstLoss) -> None:
    row.is_bursty = 1
    row.to_bad = _threshold(burst_loss.p)
    row.to_good = _threshold(burst_loss.r)
    row.loss_good = _threshold(burst_loss.loss_good)
    row.loss_bad = _threshold(burst_loss.loss_bad)
    # A call meets the network as it is in the long run, so that short calls have their share of bad states.
    row.is_bad = int(impair.next_random(row) < _threshold(burst_loss.bad_ratio))


def _threshold(ratio: float) -> int:
    return round(ratio * impair.ALWAYS)


def _ns(ms: float) -> int:
    return round(ms * _NS_PER_MS)


def _random_state(seed: int) -> int:
    """Return 32 bits that are never 0, which xorshift could not leave, and differ much for seeds that differ little."""
    mixed = (seed + 1) * _SEED_MIX & (1 << 64) - 1
    mixed = (mixed ^ mixed >> 31) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    return mixed >> 32 or 1
