"""Edges of speech under a loud background, which a threshold over it comes late for, or early: those of the network.

A background is either the whole channel's or a stretch's own, which sets in and ends with it, as where a noisy clip was
put into silence.
"""

from collections.abc import Sequence

import numpy as np

from harness.analyze.agent_side import Speech
from harness.analyze.caller_side import frame_levels_db
from harness.analyze.edge_net.edge import edges_of
from harness.analyze.edge_net.features import spectrum_of
from harness.analyze.recording import Pcm
from harness.media.hot.onset import SILENCE_DBFS

_AROUND_MS = 100
# Speech without a background falls further than this from its loud to its quiet moments.
_DEEP_DB = 40.0


def sharpened(pcm: Pcm, rate: int, heard: Sequence[Speech], *, is_everywhere: bool) -> list[Speech]:
    """Return `heard`, with what is under a background as the network has it.

    `is_everywhere`: `pcm` has a background all along; else each stretch is looked at for one of its own.
    """
    chosen = [one for one in heard if is_everywhere or is_hidden(pcm, rate, [one])]
    if not chosen:
        return list(heard)
    edges = edges_of(spectrum_of(pcm, rate), heard, has_own_background=not is_everywhere)
    sharp = []
    for one, (start, end) in zip(heard, edges, strict=True):
        if one in chosen and end.at_ms > start.at_ms:
            sharp.append(Speech(start.at_ms, end.at_ms, start.within_ms, end.within_ms))
        else:
            sharp.append(one)
    return sharp


def is_hidden(pcm: Pcm, rate: int, turn: Sequence[Speech]) -> bool:
    """Tell whether a turn has a background of its own: no dip of it is quiet."""
    first, last = (int(ms * rate / 1000) for ms in (turn[0].start_ms - _AROUND_MS, turn[-1].end_ms + _AROUND_MS))
    frames = frame_levels_db(pcm[max(0, first) : last], rate)
    sounding = frames[frames > SILENCE_DBFS + 1]
    return bool(len(sounding)) and float(np.percentile(frames, 95) - np.percentile(sounding, 3)) < _DEEP_DB
