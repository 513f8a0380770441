"""What the HTML report shows of WER: its segments key by key, the worst of long ones."""

from dataclasses import dataclass

from harness.measure.bands import WER, band_of
from harness.measure.pooled import WerRate
from harness.measure.wer import WerResult

# Of a key with more values than these, the worst are shown.
MAX_VALUES = 24


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment; `tone` and `band` "" where it has no WER."""

    value: str
    rate: WerRate
    tone: str
    band: str


@dataclass(frozen=True, slots=True)
class SegmentGroup:
    """One key with its values; `n_more` were left out."""

    key: str
    rows: tuple[SegmentRow, ...]
    n_more: int


def segment_groups(result: WerResult) -> list[SegmentGroup]:
    """Return every key of the run's segments in order."""
    groups: dict[str, list[SegmentRow]] = {}
    for key, value, rate in result.by_segment:
        groups.setdefault(key, []).append(_row(value, rate))
    return [_group(key, rows) for key, rows in groups.items()]


def _row(value: str, rate: WerRate) -> SegmentRow:
    band = None if rate.wer is None else band_of(WER, rate.wer)
    return SegmentRow(value, rate, band.tone if band else "", band.name if band else "")


def _group(key: str, rows: list[SegmentRow]) -> SegmentGroup:
    if len(rows) <= MAX_VALUES:
        return SegmentGroup(key, tuple(rows), 0)
    worst = sorted(rows, key=lambda row: (-(row.rate.wer or 0.0), row.value))[:MAX_VALUES]
    return SegmentGroup(key, tuple(worst), len(rows) - MAX_VALUES)
