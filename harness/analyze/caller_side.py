"""The caller's channel: where the caller spoke, with the edges that the corpus gives its clips.

A coarse look finds where there may be speech, a stretch ended by 300 ms of less; `find_edges` then measures each
stretch with what surrounds it, as it measures a clip. So a recording of an hour takes no more memory than its longest
stretch.
"""

import numpy as np
import numpy.typing as npt

from harness.analyze.agent_side import Speech
from harness.analyze.recording import Pcm
from harness.corpus.edges import find_edges, high_pass
from harness.corpus.levels import active_speech_level, as_float
from harness.media.onset import window_levels_dbfs

_WINDOW_MS = 5
_FRAME_MS = 20
_FRAME = _FRAME_MS // _WINDOW_MS
# A stretch is ended by so much that is no louder than the background.
PAUSE_MS = 300
# Stretches with less than this between them are one utterance, of one level.
UTTERANCE_PAUSE_MS = 2_000
HANGOVER_MS = 200
# What surrounds a stretch, as far as it is nobody else's, so that its background is known.
MARGIN_MS = 500
OVER_FLOOR_DB = 8.0
UNDER_SPEECH_DB = 32.0
FAINTEST_DBFS = -65.0
# Levels this much lower than the loudest stretch's are the other room, not the caller.
FAR_DB = 25.0


def hear_caller(caller: Pcm, rate: int) -> list[Speech]:
    """Return the caller's stretches of speech, in order."""
    frames = frame_levels_db(caller, rate)
    heard: list[Speech] = []
    stretches = _stretches(frames)
    levels = _active_levels(caller, rate, stretches)
    for index, (first, last) in enumerate(stretches):
        before = stretches[index - 1][1] if index else 0
        after = stretches[index + 1][0] if index + 1 < len(stretches) else len(frames)
        begin_ms = max(before * _FRAME_MS, first * _FRAME_MS - MARGIN_MS)
        end_ms = min(after * _FRAME_MS, last * _FRAME_MS + MARGIN_MS)
        edges = find_edges(caller[begin_ms * rate // 1000 : end_ms * rate // 1000], rate, levels[index])
        if edges is not None:
            heard.append(Speech(begin_ms + edges.start_ms, begin_ms + edges.end_ms))
    return _without_overlap(heard)


def _active_levels(caller: Pcm, rate: int, stretches: list[tuple[int, int]]) -> list[float]:
    """Return each stretch's active speech level: its utterance's, as a clip's is the whole clip's."""
    levels: list[float] = []
    begin = 0
    for index, (_, last) in enumerate(stretches):
        if index + 1 < len(stretches) and (stretches[index + 1][0] - last) * _FRAME_MS < UTTERANCE_PAUSE_MS:
            continue
        # The level counts a hangover behind the last word.
        end_ms = last * _FRAME_MS + HANGOVER_MS
        utterance = caller[stretches[begin][0] * _FRAME_MS * rate // 1000 : end_ms * rate // 1000]
        level = active_speech_level(high_pass(as_float(utterance), rate), rate).active_dbfs
        levels += [level] * (index + 1 - begin)
        begin = index + 1
    return levels


def frame_levels_db(pcm: Pcm, rate: int) -> npt.NDArray[np.float64]:
    """RMS level of each 20 ms, dB over full scale."""
    levels = np.array(window_levels_dbfs(pcm, rate))
    whole = len(levels) // _FRAME
    power = 10 ** (levels[: whole * _FRAME].reshape(whole, _FRAME) / 10)
    return np.asarray(10 * np.log10(np.mean(power, axis=1)))


def _stretches(frames: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return (first, behind the last) frame of what is over the background."""
    if not len(frames):
        return []
    floor, loud = float(np.percentile(frames, 10)), float(np.percentile(frames, 99))
    is_over = np.flatnonzero(frames > max(floor + OVER_FLOOR_DB, loud - UNDER_SPEECH_DB, FAINTEST_DBFS))
    if not len(is_over):
        return []
    groups = np.split(is_over, np.flatnonzero(np.diff(is_over) > PAUSE_MS // _FRAME_MS) + 1)
    return [(int(g[0]), int(g[-1]) + 1) for g in groups if np.max(frames[g]) > loud - FAR_DB]


def _without_overlap(heard: list[Speech]) -> list[Speech]:
    """Join what the margins made overlap."""
    joined: list[Speech] = []
    for speech in heard:
        if joined and speech.start_ms <= joined[-1].end_ms:
            joined[-1] = Speech(joined[-1].start_ms, max(joined[-1].end_ms, speech.end_ms))
        else:
            joined.append(speech)
    return joined
