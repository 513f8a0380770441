"""Edges of speech that begins and ends under a loud background, which a threshold over it comes late for, or too early.

A hiss of half the background's power cannot be told in 5 ms of a channel's level, but well in 20 ms of the band it
lies in, over a background whose spread is known. So each band's level is counted in spreads of the background over its
mean, the bands' excesses are added up, and what no frame of the background reaches is sound of the speaker.
From each stretch's edge that sound is followed outwards across gaps that a closure before a stop may last.
"""

import numpy as np
import numpy.typing as npt

from harness.analyze.agent_side import Speech
from harness.analyze.recording import Pcm

FRAME_MS, HOP_MS = 20, 2
BANDS_HZ = (150, 300, 500, 800, 1200, 1800, 2600, 3700, 5200, 7400)
GUARD_MS = 350
# Of background near a stretch: how far it may lie, and how much is needed.
NEAR_MS = 6_000
LEAST_MS = 200
OVER_BACKGROUND = 1.1
GAP_MS = 110
LEAST_SOUND_MS = 14
OUTWARDS_MS = 300
INWARDS_MS = 60
Levels = npt.NDArray[np.float64]


def sharpened(pcm: Pcm, rate: int, heard: list[Speech]) -> list[Speech]:
    """Return `heard` with each edge where the sound over the background begins and ends."""
    levels = _band_levels_db(pcm, rate)
    at_ms = np.arange(len(levels)) * HOP_MS
    is_background = np.ones(len(levels), np.bool_)
    for one in heard:
        is_background &= (at_ms < one.start_ms - GUARD_MS) | (at_ms > one.end_ms + GUARD_MS)
    found = []
    for index, one in enumerate(heard):
        before_ms = heard[index - 1].end_ms if index else 0.0
        after_ms = heard[index + 1].start_ms if index + 1 < len(heard) else float(at_ms[-1])
        near = is_background & (at_ms > one.start_ms - NEAR_MS) & (at_ms < one.end_ms + NEAR_MS)
        if np.count_nonzero(near) * HOP_MS < LEAST_MS:
            found.append(one)
            continue
        is_sound = _sound(levels, near)
        first = int(max(before_ms, one.start_ms - OUTWARDS_MS) / HOP_MS)
        last = int(min(after_ms, one.end_ms + OUTWARDS_MS) / HOP_MS)
        end_ms = _follow(is_sound, one.end_ms - INWARDS_MS, last)
        start_ms = (
            -_follow(is_sound[::-1], -(one.start_ms + INWARDS_MS) + at_ms[-1], len(levels) - 1 - first) + at_ms[-1]
        )
        found.append(Speech(start_ms, end_ms) if end_ms > start_ms else one)
    return found


def _sound(levels: Levels, background: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    mean = np.mean(levels[background], axis=0)
    spread = np.maximum(np.std(levels[background], axis=0), 0.5)
    excess = np.sum(np.clip((levels - mean) / spread - 1, 0, 8), axis=1)
    smooth = np.convolve(excess, np.ones(5) / 5, "same")
    return np.asarray(smooth > OVER_BACKGROUND * np.quantile(smooth[background], 0.998))


def _follow(is_sound: npt.NDArray[np.bool_], from_ms: float, until: int) -> float:
    """Return where the sound that goes on at `from_ms` ends, looking no further than frame `until`."""
    begin = int(from_ms / HOP_MS)
    held = (
        np.convolve(is_sound[begin : until + 1], np.ones(LEAST_SOUND_MS // HOP_MS), "same")
        >= LEAST_SOUND_MS // HOP_MS / 2
    )
    loud = np.flatnonzero(is_sound[begin : until + 1] & held)
    end = 0
    for frame in loud:
        if (frame - end) * HOP_MS > GAP_MS + INWARDS_MS * (end == 0):
            break
        end = int(frame)
    return float((begin + end) * HOP_MS)


def _band_levels_db(pcm: Pcm, rate: int) -> Levels:
    """Level of each band in the 20 ms about every 2 ms, shape (frames, bands)."""
    size, hop = rate * FRAME_MS // 1000, rate * HOP_MS // 1000
    count = len(pcm) // hop
    padded = np.concatenate([np.zeros(size // 2), pcm.astype(np.float64), np.zeros(size)])
    edges = [hertz for hertz in BANDS_HZ if hertz < 0.47 * rate]
    bins = np.round(np.array(edges) * size / rate).astype(int)
    levels = np.empty((count, len(bins) - 1))
    for at in range(0, count, 4096):
        frames = padded[np.arange(at, min(count, at + 4096))[:, None] * hop + np.arange(size)] * np.hanning(size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        sums = np.add.reduceat(power, bins, axis=1)[:, :-1]
        levels[at : at + 4096] = 10 * np.log10(sums + 1e-3)
    return levels
