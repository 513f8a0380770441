"""What was heard in a channel, made right by the clips that are said in it.

A background that is itself speech, or that swells, is heard as speech, too, between the utterances and across them.
Where clips of a corpus are found, their edges hold; of what else was heard only that remains which is as loud as they
are, being somebody else's word, or one of no corpus.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.analyze.agent_side import Speech
from harness.analyze.caller_side import frame_levels_db
from harness.analyze.known_clips import Said
from harness.analyze.recording import Pcm

# What is heard so near to a clip is its room, or the clip.
NEAR_MS = 150.0
SHORTEST_MS = 200.0
# The rest is as loud as the clips, or it is the background; where that is faint, only what is far under them is it.
UNDER_CLIPS_DB = 5.0
FAR_UNDER_CLIPS_DB = 20.0


def with_clips(
    pcm: Pcm, rate: int, heard: Sequence[Speech], said: Sequence[Speech], files: Sequence[Speech], *, is_noisy: bool
) -> list[Speech]:
    """Return `said`, the clips' stretches, and what of `heard` is none of theirs; in order, free of overlap.

    `files`: where the clips' files lie, which may hold more than the speech.
    """
    if not said:
        return list(heard)
    under_db = UNDER_CLIPS_DB if is_noisy else FAR_UNDER_CLIPS_DB
    least_db = float(np.median([_loud_db(pcm, rate, one) for one in said])) - under_db
    rest = [piece for one in heard for piece in _without(one, [*said, *files])]
    kept = [one for one in rest if one.end_ms - one.start_ms >= SHORTEST_MS and _loud_db(pcm, rate, one) >= least_db]
    return sorted([*said, *kept], key=lambda one: one.start_ms)


def broken_off(said: Said, heard: Sequence[Speech]) -> Speech:
    """Return a clip's stretch, which ends as it was heard to where it was not said to its end."""
    if said.broken_ms is None:
        return said.speech
    first_ms, last_ms = said.speech.end_ms - NEAR_MS, said.broken_ms + NEAR_MS
    ended = max((one for one in heard if first_ms <= one.end_ms <= last_ms), key=lambda one: one.end_ms, default=None)
    if ended is None:
        return said.speech
    return replace(said.speech, end_ms=ended.end_ms, end_within_ms=ended.end_within_ms)


def _without(one: Speech, said: Sequence[Speech]) -> list[Speech]:
    """Return what of `one` is further than NEAR_MS from every clip."""
    pieces = [one]
    for clip in said:
        begin_ms, end_ms = clip.start_ms - NEAR_MS, clip.end_ms + NEAR_MS
        pieces = [part for piece in pieces for part in (_before(piece, begin_ms), _behind(piece, end_ms)) if part]
    return pieces


def _before(one: Speech, at_ms: float) -> Speech | None:
    if one.end_ms <= at_ms:
        return one
    return replace(one, end_ms=at_ms, end_within_ms=None) if one.start_ms < at_ms else None


def _behind(one: Speech, at_ms: float) -> Speech | None:
    if one.start_ms >= at_ms:
        return one
    return replace(one, start_ms=at_ms, start_within_ms=None) if one.end_ms > at_ms else None


def _loud_db(pcm: Pcm, rate: int, one: Speech) -> float:
    """Level of the louder half of a stretch."""
    frames = np.sort(frame_levels_db(pcm[int(one.start_ms * rate / 1000) : int(one.end_ms * rate / 1000)], rate))
    louder = frames[len(frames) // 2 :]
    return float(10 * np.log10(np.mean(10 ** (louder / 10)))) if len(louder) else -100.0
