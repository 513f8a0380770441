"""One side of a call as utterances: stretches of speech with a pause before and after each."""

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm
from harness.corpus.edges import CORE_BELOW_ACTIVE_DB, HOP_MS, edge_threshold_db, window_power_db
from harness.corpus.levels import active_speech_level, as_float

# What an utterance keeps of the pauses around it, or half of each where they are shorter than twice that.
MARGIN_MS = 300
# Less loud sound than this is a click, a breath or the line.
_LEAST_CORE_MS = 80


def find_utterances(pcm: Pcm, rate: int, pause_ms: int) -> list[tuple[int, int]]:
    """Cut mono int16 samples, shape (samples,), at pauses of `pause_ms` and more; return (start, end) in samples.

    Each has margins of the pauses around it, so that its edges can be measured like any clip's.
    """
    power_db = window_power_db(as_float(pcm), rate)
    if not len(power_db):
        return []
    level = active_speech_level(pcm, rate).active_dbfs
    is_core = power_db > level - CORE_BELOW_ACTIVE_DB
    loud = np.flatnonzero(power_db > edge_threshold_db(power_db, is_core, level))
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > pause_ms // HOP_MS) + 1) if len(loud) else []
    kept = [(int(g[0]), int(g[-1])) for g in groups if np.count_nonzero(is_core[g]) >= _LEAST_CORE_MS // HOP_MS]
    return [(start * rate // 1000, end * rate // 1000) for start, end in _with_margins(kept, len(pcm) * 1000 // rate)]


def _with_margins(stretches: list[tuple[int, int]], length_ms: int) -> list[tuple[int, int]]:
    """Widen (start, end) in ms, neighbours never into each other."""
    ends = [0, *(end for _, end in stretches)]
    starts = [*(start for start, _ in stretches), length_ms]
    return [
        (
            start - min(MARGIN_MS, _half(start - ends[i], i == 0)),
            end + min(MARGIN_MS, _half(starts[i + 1] - end, i == last)),
        )
        for last in (len(stretches) - 1,)
        for i, (start, end) in enumerate(stretches)
    ]


def _half(gap_ms: int, is_outer: bool) -> int:
    return max(0, gap_ms if is_outer else gap_ms // 2)


def overlap_ratio(mine: NDArray[np.int16], other: NDArray[np.int16], rate: int) -> float:
    """Share of the time in which the other channel is as loud as this one, or louder: echo, or both talk at once."""
    ours, theirs = (window_power_db(as_float(channel), rate) for channel in (mine, other))
    is_speech = ours > active_speech_level(mine, rate).active_dbfs - CORE_BELOW_ACTIVE_DB
    return float(np.mean(theirs[is_speech] >= ours[is_speech])) if is_speech.any() else 0.0
