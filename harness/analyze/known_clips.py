"""Utterances of a corpus found in a recording, where its background hides how they end.

A clip that is known need not end where its sound gets lost: found by its correlation with what was recorded, between
300 and 3,400 Hz, it says to the millisecond where its speech begins and ends, at SNRs at which no detector could.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.agent_side import Speech
from harness.analyze.recording import Pcm
from harness.corpus.audio import read_pcm, resample
from harness.corpus.entry import Utterance
from harness.corpus.manifest import Corpus
from harness.model.errors import ScenarioError

RATE = 8_000
BAND_HZ = (300, 3400)
LEAST_LIKENESS = 0.55
MARGIN_MS = 1_500
# By how much the turn that a detector heard may be shorter or longer than the clip it is.
SHORTER, LONGER = 0.5, 1.3
# So many clips, whose loudness comes nearest to what was heard, are correlated sample by sample.
TRIED = 6
_STEP = RATE // 100
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """A clip in a recording; `speech` in ms of the recording, `likeness` the correlation coefficient."""

    utterance_id: str
    speech: Speech
    likeness: float


class KnownClips:
    """The clean clips of a corpus, decoded as they are needed."""

    def __init__(self, corpus: Corpus) -> None:
        clean = [u for u in corpus.utterances.values() if u.base_id == u.id]
        self._clips = sorted(clean, key=_length_ms)
        self._kept: dict[str, Samples] = {}
        self._envelopes: dict[str, Samples] = {}

    def find(self, caller: Pcm, rate: int, turn: Sequence[Speech]) -> Found | None:
        """Return the clip that `turn` is; None where it is none of them."""
        begin_ms = max(0.0, turn[0].start_ms - MARGIN_MS)
        stretch = caller[int(begin_ms * rate / 1000) : int((turn[-1].end_ms + MARGIN_MS) * rate / 1000)]
        heard = _telephone(stretch if rate == RATE else resample(stretch, rate, RATE))
        lasted_ms = turn[-1].end_ms - turn[0].start_ms
        fitting = [c for c in self._clips if SHORTER * _length_ms(c) <= lasted_ms <= LONGER * _length_ms(c)]
        loudness = _envelope(heard)
        fitting.sort(key=lambda clip: -_likeness(loudness, self._loudness(clip))[0])
        best: tuple[float, int, Utterance] | None = None
        for clip in fitting[:TRIED]:
            likeness, at = _likeness(heard, self._speech(clip))
            if best is None or likeness > best[0]:
                best = likeness, at, clip
        if best is None or best[0] < LEAST_LIKENESS:
            return None
        start_ms = begin_ms + best[1] * 1000 / RATE
        return Found(best[2].id, Speech(start_ms, start_ms + _length_ms(best[2])), best[0])

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
