"""Utterances of a corpus found in a recording, on whichever channel, under whatever background.

A clip that is known need not end where its sound gets lost: found by its correlation with what was recorded, between
300 and 3,400 Hz, it says to the millisecond where its speech begins and ends, at SNRs at which no detector could.
First the loudness over time is compared with every clip's that is of fitting length; the few that come nearest are
then correlated sample by sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.agent_side import Speech
from harness.analyze.recording import Pcm
from harness.corpus.audio import read_pcm, resample
from harness.corpus.conditions.names import CLEAN as CLEAN_NOISE
from harness.corpus.entry import Utterance
from harness.corpus.manifest import Corpus
from harness.model.errors import ScenarioError

RATE = 8_000
BAND_HZ = (300, 3400)
LEAST_LIKENESS = 0.55
# Of a clean clip with what a room made of it.
LEAST_LIKELY = 0.3
MARGIN_MS = 1_500


@dataclass(frozen=True, slots=True)
class Fit:
    """How far what a detector heard may be from the clip that it is."""

    # Heard length over the clip's.
    shorter: float
    longer: float
    # Heard end after the clip's, ms.
    earlier_ms: float
    later_ms: float
    least_likeness: float


CLEAN = Fit(0.9, 1.1, 150, 150, 0.8)
HIDDEN = Fit(0.5, 1.3, 500, 250, LEAST_LIKENESS)
# So many clips, whose loudness comes nearest to what was heard, are correlated sample by sample.
TRIED = 6
_STEP = RATE // 100
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """A clip in a recording; `speech` in ms of the recording, `likeness` the correlation coefficient.

    `before` of the stretches that were asked about come before the clip.
    """

    utterance_id: str
    speech: Speech
    likeness: float
    before: int = 0


class KnownClips:
    """The clips of a corpus, decoded as they are needed.

    Clean ones are looked for. What was made of the one that is found, in a room or through a codec, may be what was
    said, and has edges of its own: the likeliest of them all is told.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._clips = [u for u in corpus.utterances.values() if u.base_id == u.id]
        self._derived: dict[str, list[Utterance]] = {}
        for utterance in corpus.utterances.values():
            if utterance.base_id != utterance.id and utterance.noise == CLEAN_NOISE:
                self._derived.setdefault(utterance.base_id, []).append(utterance)
        self._kept: dict[str, Samples] = {}
        self._envelopes: dict[str, Samples] = {}

    def find(self, channel: Pcm, rate: int, turn: Sequence[Speech], *, is_hidden: bool) -> Found | None:
        """Return the clip that `turn` ends with; None where it is none of them.

        `is_hidden`: how the turn was heard to begin and end is not sure, for a background or for want of band.
        """
        fit = HIDDEN if is_hidden else CLEAN
        for before in range(len(turn)):
            found = self._find(channel, rate, turn[before:], fit, before)
            if found is not None:
                return found
        return None

    def _find(self, channel: Pcm, rate: int, turn: Sequence[Speech], fit: Fit, before: int) -> Found | None:
        lasted_ms, ended_ms = turn[-1].end_ms - turn[0].start_ms, turn[-1].end_ms
        fitting = [c for c in self._clips if fit.shorter * _length_ms(c) <= lasted_ms <= fit.longer * _length_ms(c)]
        if not fitting:
            return None
        begin_ms = max(0.0, turn[0].start_ms - MARGIN_MS)
        stretch = channel[int(begin_ms * rate / 1000) : int((ended_ms + MARGIN_MS) * rate / 1000)]
        heard = _telephone(stretch if rate == RATE else resample(stretch, rate, RATE))
        loudness = _envelope(heard)
        fitting.sort(key=lambda clip: -_likeness(loudness, self._loudness(clip))[0])
        best = self._likeliest(heard, fitting[:TRIED])
        if best is None:
            return None
        best = self._likeliest(heard, [best[2], *self._derived.get(best[2].id, [])]) or best
        likeness, at, clip = best
        start_ms = begin_ms + at * 1000 / RATE
        found = Found(clip.id, Speech(start_ms, start_ms + _length_ms(clip)), likeness, before)
        is_it = likeness >= fit.least_likeness and -fit.earlier_ms <= ended_ms - found.speech.end_ms <= fit.later_ms
        return found if is_it else None

    def _likeliest(self, heard: Samples, clips: Sequence[Utterance]) -> tuple[float, int, Utterance] | None:
        """Return the clip that is most like a part of `heard`, with that and where the part begins."""
        told = [(*_likeness(heard, self._speech(clip)), clip) for clip in clips]
        best = max(told, key=lambda one: one[0], default=None)
        return best if best is not None and best[0] >= LEAST_LIKELY else None

    def _speech(self, clip: Utterance) -> Samples:
        if clip.id not in self._kept:
            try:
                pcm = read_pcm(clip, RATE)
            except ScenarioError:
                pcm = np.zeros(0, np.int16)
            first, last = (round(ms * RATE / 1000) for ms in (clip.speech_start_ms, clip.speech_end_ms))
            self._kept[clip.id] = _telephone(pcm[first:last])
        return self._kept[clip.id]

    def _loudness(self, clip: Utterance) -> Samples:
        if clip.id not in self._envelopes:
            self._envelopes[clip.id] = _envelope(self._speech(clip))
        return self._envelopes[clip.id]


def _length_ms(clip: Utterance) -> float:
    return clip.speech_end_ms - clip.speech_start_ms


def _envelope(signal: Samples) -> Samples:
    """Level of each 10 ms in dB, over its mean."""
    whole = len(signal) // _STEP
    power = np.mean(signal[: whole * _STEP].reshape(whole, _STEP) ** 2, axis=1)
    loudest = float(np.max(power, initial=1.0))
    levels = 10 * np.log10(np.maximum(power, loudest * 1e-3))
    return np.asarray(levels - np.mean(levels)) if whole else np.zeros(0)


def _telephone(pcm: Pcm) -> Samples:
    if not len(pcm):
        return np.zeros(0)
    spectrum = np.fft.rfft(pcm.astype(np.float64))
    hertz = np.fft.rfftfreq(len(pcm), 1 / RATE)
    spectrum[(hertz < BAND_HZ[0]) | (hertz > BAND_HZ[1])] = 0
    return np.fft.irfft(spectrum, len(pcm))


def _likeness(heard: Samples, clip: Samples) -> tuple[float, int]:
    """Return the highest correlation coefficient of `clip` with as long a part of `heard`, and where that begins."""
    energy = float(np.dot(clip, clip))
    if energy <= 0:
        return 0.0, 0
    if len(heard) < len(clip):
        heard = np.concatenate([heard, np.zeros(len(clip) - len(heard))])
    size = 1 << (len(heard) + len(clip)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(clip, size))
    places = len(heard) - len(clip) + 1
    correlation = np.fft.irfft(product, size)[:places]
    total = np.concatenate([[0.0], np.cumsum(heard**2)])
    powers = total[len(clip) : len(clip) + places] - total[:places]
    coefficients = correlation / np.sqrt(np.maximum(powers, 1e-3 * energy) * energy)
    at = int(np.argmax(coefficients))
    return float(coefficients[at]), at
