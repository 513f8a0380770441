"""From an `Impairment` to the row that the loop decides by (hot/impair.py), and from the row to its counts."""

from typing import Any

from harness.media.hot import impair
from harness.media.hot.jit import clear_row
from harness.model.impairment import Bandwidth, BurstLoss, Impairment, Jitter

__all__ = ["Bandwidth", "BurstLoss", "Impairment", "Jitter", "fill_row"]

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
