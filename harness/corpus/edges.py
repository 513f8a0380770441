"""Where speech begins and ends in a clean clip, by measurement.

The energy of 5 ms windows, every 1 ms, is held against a threshold 35 dB under the active speech level (higher where
the recording's own floor is). Stretches above it that lie within 120 ms of each other are one island, so the closure
before a final /t/ does not cut its burst off; islands with less than 40 ms above the threshold are clicks and are
ignored. Speech runs from the first sample of the first island to the last sample of the last. A decay or a breath
under the threshold is not speech: no listener, and no VAD, hears it as such.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.corpus.levels import active_speech_level, as_float

WINDOW_MS = 5
HOP_MS = 1
BELOW_ACTIVE_DB = 35.0
# Distance kept from the recording's own floor, and how far the floor may lift the threshold towards the speech.
ABOVE_FLOOR_DB = 10.0
HIGHEST_BELOW_ACTIVE_DB = 12.0
FLOOR_PERCENTILE = 5
JOIN_GAP_MS = 120
LEAST_SOUND_MS = 40
# Hum and rumble below the voice are taken out, with a smooth flank so that they do not ring.
_HIGH_PASS_HZ = (40.0, 80.0)


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
    threshold = edge_threshold_db(power_db, active_speech_level(x, rate).active_dbfs)
    islands = _islands(np.flatnonzero(power_db > threshold))
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
    return 10 * np.log10(np.maximum(power, 1e-12))


def edge_threshold_db(power_db: NDArray[np.float64], active_dbfs: float) -> float:
    """What counts as sound in this clip."""
    floor = float(np.percentile(power_db, FLOOR_PERCENTILE))
    return min(max(active_dbfs - BELOW_ACTIVE_DB, floor + ABOVE_FLOOR_DB), active_dbfs - HIGHEST_BELOW_ACTIVE_DB)


def _islands(loud: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Group loud window numbers; keep (first, last) of the groups with enough sound in them."""
    if not len(loud):
        return []
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > JOIN_GAP_MS // HOP_MS) + 1)
    # A lone sample lights WINDOW_MS windows, which is not WINDOW_MS of sound.
    least = (LEAST_SOUND_MS + WINDOW_MS) // HOP_MS
    return [(int(group[0]), int(group[-1])) for group in groups if len(group) >= least]


def _high_pass(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Zero-phase, so that no edge moves."""
    low, high = _HIGH_PASS_HZ
    # Padding keeps the end from leaking into the start.
    spectrum = np.fft.rfft(x, len(x) + rate // 5)
    ramp = np.clip((np.fft.rfftfreq(len(x) + rate // 5, 1 / rate) - low) / (high - low), 0, 1)
    return np.fft.irfft(spectrum * np.sin(ramp * np.pi / 2) ** 2, len(x) + rate // 5)[: len(x)]
