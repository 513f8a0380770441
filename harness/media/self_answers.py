"""Whether an agent answered itself: its own sound found on the caller's side by cross-correlation, and what followed.

    caller's side but for its clips ─► pieces of 0.4 s ─► looked for in what the agent said in the 2.5 s before
                                                          └─► copies: how late, how much louder or quieter
    agent's side ─► its utterances: one that begins behind a copy of the last one, the caller having said nothing
                    since, and behind a pause: it answers itself

Pure; of two sides at one rate. What the harness itself sent back, and what a telephone did, look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harness.media.clips import Pcm
from harness.model.records import EchoFacts

# Speech below 2 kHz is enough to find a copy by.
RATE = 4_000
PIECE_MS, SHORTEST_PIECE_MS = 400, 160
# How long after it was said a copy is looked for.
LONGEST_DELAY_MS = 2_500
# Normalised correlation of whitened speech: other speech stays below 0.45, a copy through two codecs is above 0.6.
LEAST_STRENGTH = 0.55
_FRAME_MS = 20
# Frames this loud are sound; of the agent's, also no more than this much below its loud ones.
_AUDIBLE = 104.0
_BELOW_LOUD = 0.03
# A pause that an answer has before it, and how long before it the copy had ended: an agent waits for the end of a turn,
# and between two sentences of one answer it pauses for less.
LEAST_PAUSE_MS, LEAST_SINCE_MS = 600, 250
# The same where the agent's transcripts say that it took something for its caller's words.
LEAST_PAUSE_TOLD_MS = 400
_JOINED_MS = 300
_SHORTEST_UTTERANCE_MS = 60
# Of the spectrum's magnitude that whitening leaves (the generalised cross-correlation of Knapp and Carter, 1976).
_KEPT = 0.4
Samples = npt.NDArray[np.float64]
Stretch = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Copy:
    """A piece of the caller's side that the agent said `delay_ms` before; ms from the recording's begin."""

    start_ms: float
    end_ms: float
    delay_ms: float
    gain_db: float
    strength: float


def self_answers(
    caller: Pcm, agent: Pcm, rate: int, clips: Sequence[Stretch], transcripts_ms: Sequence[float] | None
) -> EchoFacts:
    """Return what the two sides of a call tell.

    `clips`: when the caller spoke itself, ms. `transcripts_ms`: when the agent told what it had understood; None where
    it has no way to tell.
    """
    near, far = (_slow(side, rate) for side in (caller, agent))
    pieces = _pieces(_without(near, clips))
    copies = [copy for start, end in pieces if (copy := find_copy(near, far, start, end)) is not None]
    answers = answers_to(copies, utterances(far), clips, transcripts_ms) if copies else []
    return EchoFacts(
        pieces=len(pieces),
        copies=len(copies),
        delay_ms=_median([copy.delay_ms for copy in copies]),
        gain_db=_median([copy.gain_db for copy in copies]),
        strength=_median([copy.strength for copy in copies]),
        self_answers=len(answers),
        first_ms=answers[0] if answers else None,
        transcripts=transcripts_ms is not None,
    )


def answers_to(
    copies: Sequence[Copy], said: Sequence[Stretch], clips: Sequence[Stretch], transcripts_ms: Sequence[float] | None
) -> list[float]:
    """Return when the agent began to answer its own sound, ms."""
    least_ms = LEAST_PAUSE_MS if transcripts_ms is None else LEAST_PAUSE_TOLD_MS
    found = []
    for before, after in pairwise(said):
        latest_ms = after[0] - LEAST_SINCE_MS
        has_heard = any(before[0] <= copy.start_ms and copy.end_ms <= latest_ms for copy in copies)
        spoke_itself = any(start < after[0] and end > before[0] for start, end in clips)
        if not has_heard or spoke_itself or after[0] - before[1] < least_ms:
            continue
        if transcripts_ms is None or any(before[0] <= at <= after[0] + LEAST_PAUSE_TOLD_MS for at in transcripts_ms):
            found.append(after[0])
    return found


def find_copy(near: Samples, far: Samples, start: int, end: int) -> Copy | None:
    """Look for samples `start` to `end` of one side in what the other side had until then; None where they are not."""
    begin = max(0, start - LONGEST_DELAY_MS * RATE // 1000)
    piece, room = near[start:end], far[begin:end]
    if len(room) <= len(piece) or not np.any(room):
        return None
    first, second = (_white(signal, len(room) + len(piece)) for signal in (piece, room))
    products = np.fft.irfft(second * np.conj(first))[: len(room) - len(piece) + 1]
    flat_piece = np.fft.irfft(first)[: len(piece)]
    squares = np.concatenate(([0.0], np.cumsum(np.fft.irfft(second)[: len(room)] ** 2)))
    energies = squares[len(piece) :] - squares[: -len(piece)]
    # Where hardly anything was said there is nothing to be found, however alike.
    energies = np.maximum(energies, 0.05 * float(energies.max()))
    strengths = products / np.sqrt(energies * float(np.dot(flat_piece, flat_piece)) + 1e-12)
    at = int(np.argmax(strengths))
    if strengths[at] < LEAST_STRENGTH:
        return None
    there = room[at : at + len(piece)]
    gain = float(np.sqrt(np.dot(piece, piece) / (np.dot(there, there) + 1e-9)))
    ms = 1000 / RATE
    return Copy(
        start * ms, end * ms, (start - begin - at) * ms, 20 * float(np.log10(max(gain, 1e-6))), float(strengths[at])
    )


def utterances(side: Samples) -> list[Stretch]:
    """Return the agent's utterances, ms: sound without a pause of _JOINED_MS."""
    frame = _FRAME_MS * RATE // 1000
    levels = _levels(side, frame)
    if not len(levels):
        return []
    sounds = levels > max(_AUDIBLE, _BELOW_LOUD * float(np.percentile(levels, 98)))
    joined = _joined(_runs(sounds), _JOINED_MS // _FRAME_MS)
    return [
        (start * _FRAME_MS, end * _FRAME_MS)
        for start, end in joined
        if (end - start) * _FRAME_MS >= _SHORTEST_UTTERANCE_MS
    ]


def _pieces(side: Samples) -> list[tuple[int, int]]:
    """Return where a side has sound, cut into pieces, samples."""
    frame = _FRAME_MS * RATE // 1000
    most, least = (length // _FRAME_MS for length in (PIECE_MS, SHORTEST_PIECE_MS))
    found = []
    for start, end in _joined(_runs(_levels(side, frame) > _AUDIBLE), 5):
        for at in range(start, end, most):
            until = min(at + most, end)
            if until - at >= least:
                found.append((at * frame, until * frame))
    return found


def _without(side: Samples, clips: Sequence[Stretch]) -> Samples:
    left = side.copy()
    for start_ms, end_ms in clips:
        left[max(0, int(start_ms * RATE / 1000)) : int(end_ms * RATE / 1000)] = 0
    return left


def _slow(side: Pcm, rate: int) -> Samples:
    step = rate // RATE
    whole = len(side) // step * step
    slow: Samples = side[:whole].reshape(-1, step).mean(axis=1, dtype=np.float64)
    return slow


def _white(signal: Samples, size: int) -> npt.NDArray[np.complex128]:
    # Even, so that the way back knows its length.
    spectrum = np.fft.rfft(signal, size + size % 2)
    magnitudes = np.abs(spectrum)
    # What is 60 dB below the loudest is noise, and is not raised.
    floor = max(1e-3 * float(magnitudes.max()), 1e-9)
    white: npt.NDArray[np.complex128] = spectrum * np.maximum(magnitudes, floor) ** (_KEPT - 1)
    return white


def _levels(side: Samples, frame: int) -> Samples:
    whole = len(side) // frame * frame
    levels: Samples = np.sqrt((side[:whole].reshape(-1, frame) ** 2).mean(axis=1))
    return levels


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _joined(runs: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Return the runs, those with at most so many frames between them as one."""
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] <= most:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
