"""Where speech begins and ends in a clean clip, by measurement.

Energy is taken in 5 ms windows, one every 1 ms, and held against two thresholds. The *core* threshold, 20 dB under the
active speech level, says what surely is voice; the *edge* threshold, 30 dB under it or just over the recording's own
background, says how far the voice reaches. Stretches over the edge threshold that lie within 120 ms of each other are
one island, so the closure before a final /t/ does not cut its burst off; an island with less than 40 ms over the core
threshold is a click or a breath and is ignored. Speech runs from the first sample of the first island to the last
sample of the last, but no further than 160 ms beyond its core: a weak consonant is not longer, a breath is. The decay
under the edge threshold is not speech: no listener, and no VAD, hears it as such.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.corpus.levels import active_speech_level, as_float

WINDOW_MS = 5
HOP_MS = 1
EDGE_BELOW_ACTIVE_DB = 30.0
CORE_BELOW_ACTIVE_DB = 20.0
# The background is what lies further than this from any core, where there is enough of it; else the quietest windows.
GUARD_MS = 200
LEAST_BACKGROUND_MS = 50
# How far the edge threshold stays above the loud moments of the background, or above the quietest windows.
ABOVE_BACKGROUND_DB = 3.0
ABOVE_QUIETEST_DB = 10.0
# However noisy the recording, the edge threshold rises no nearer to the speech.
HIGHEST_BELOW_ACTIVE_DB = 14.0
JOIN_GAP_MS = 120
LEAST_CORE_MS = 40
REACH_MS = 160
# Hum and rumble are taken out below this, with a flank gentle enough that a click does not ring.
HIGH_PASS_HZ = 100.0


@dataclass(frozen=True, slots=True)
class Edges:
    """First and last instant of speech, ms from the first sample."""

    start_ms: float
    end_ms: float


def find_edges(signal: NDArray[np.generic], rate: int) -> Edges | None:
    """Speech edges of mono `signal`, shape (samples,), int16 or float; None where nothing in it is speech."""
    x = _high_pass(as_float(signal), rate)
    power_db = window_power_db(x, rate)
    if not len(power_db):
        return None
    active_dbfs = active_speech_level(x, rate).active_dbfs
    is_core = power_db > active_dbfs - CORE_BELOW_ACTIVE_DB
    islands = _islands(power_db > edge_threshold_db(power_db, is_core, active_dbfs), is_core)
    if not islands:
        return None
    # The first window over the threshold is there because of its newest hop, the last one because of its oldest.
    return Edges(
        float(islands[0][0] * HOP_MS + WINDOW_MS - HOP_MS) if islands[0][0] else 0.0,
        float(islands[-1][1] * HOP_MS + HOP_MS),
    )


def window_power_db(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Mean power in dB over full scale of each 5 ms window; window i begins i ms into `x`."""
    total = np.concatenate([[0.0], np.cumsum(x * x)])
    hop, window = rate * HOP_MS // 1000, rate * WINDOW_MS // 1000
    starts = np.arange(0, len(x) - window + 1, hop)
    power = (total[starts + window] - total[starts]) / window
    decibels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-12))
    return decibels


def edge_threshold_db(power_db: NDArray[np.float64], is_core: NDArray[np.bool_], active_dbfs: float) -> float:
    """Return the power over which a window belongs to speech, if it is near enough to a core."""
    background = power_db[~_near(is_core, GUARD_MS // HOP_MS)]
    if len(background) >= LEAST_BACKGROUND_MS // HOP_MS:
        floor = float(np.percentile(background, 95)) + ABOVE_BACKGROUND_DB
    else:
        floor = float(np.percentile(power_db, 5)) + ABOVE_QUIETEST_DB
    return min(max(active_dbfs - EDGE_BELOW_ACTIVE_DB, floor), active_dbfs - HIGHEST_BELOW_ACTIVE_DB)


def _near(flags: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Windows within `reach` of a set flag."""
    counted = np.concatenate([[0], np.cumsum(flags)])
    index = np.arange(len(flags))
    return counted[np.minimum(index + reach + 1, len(flags))] > counted[np.maximum(index - reach, 0)]


def _islands(is_loud: NDArray[np.bool_], is_core: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Group loud windows; return (first, last) window of each group with enough core in it."""
    loud = np.flatnonzero(is_loud)
    if not len(loud):
        return []
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > JOIN_GAP_MS // HOP_MS) + 1)
    # A lone sample lights WINDOW_MS windows, which is not WINDOW_MS of sound.
    least = (LEAST_CORE_MS + WINDOW_MS) // HOP_MS
    reach = REACH_MS // HOP_MS
    islands = []
    for group in groups:
        core = group[is_core[group]]
        if len(core) >= least:
            islands.append((max(int(group[0]), int(core[0]) - reach), min(int(group[-1]), int(core[-1]) + reach)))
    return islands


def _high_pass(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Take out the lowest frequencies, zero-phase (two Butterworth poles each way), so that no edge moves."""
    # Padding keeps the end from leaking into the start.
    size = len(x) + rate // 5
    fourth = (np.fft.rfftfreq(size, 1 / rate) / HIGH_PASS_HZ) ** 4
    return np.fft.irfft(np.fft.rfft(x, size) * fourth / (1 + fourth), size)[: len(x)]
