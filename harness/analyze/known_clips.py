"""Utterances of a corpus found in a recording, on whichever channel, under whatever background.

A clip that is known need not end where its sound gets lost: found by its correlation with what was recorded, between
300 and 3,400 Hz, it says to the millisecond where its speech begins and ends, at SNRs at which no detector could.

Where a turn was heard to begin and end, the loudness over time is compared with every clip's that is of fitting length;
the few that come nearest are then correlated sample by sample. Under a background nothing surely was heard: there the
whole channel is searched (clip_search.py), and what is found is correlated as closely.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.analyze import clip_search
from harness.analyze.agent_side import Speech, hear_agent
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
# A place that was found in a channel is looked at closer so far around.
AROUND_MS = 40
# Whether a clip was said to its end is told piece by piece; a piece this far under the clip's level tells nothing.
PIECE_MS = 100
FAINT_DB = 15.0
# A piece of a clip that was broken off has less than this of the others' gain.
LEAST_GAIN = 0.5
# What is this much quieter than the loudest that was found is an echo of the other side.
FAR_DB = 20.0
# Clips may come so close behind one another as to seem to overlap.
OVERLAP_MS = 50.0
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


@dataclass(frozen=True, slots=True)
class Said:
    """A clip found in a channel; `speech` in ms of the channel.

    Where it was broken off, `is_whole` is False, and it ends where it was last sure to go on; it was sure not to from
    `broken_ms` on. `onset_ms`: where the detector of live calls hears the clip begin. `file`: from the file's first
    sample to its last, as far as it was said: what a recording has besides its speech is in the channel, too.
    """

    utterance_id: str
    speech: Speech
    onset_ms: float
    likeness: float
    level_db: float
    file: Speech
    broken_ms: float | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether it was said to its end."""
        return self.broken_ms is None


class KnownClips:
    """The clips of a corpus, decoded as they are needed.

    Clean ones are looked for. What was made of the one that is found, in a room or through a codec, may be what was
    said, and has edges of its own: the likeliest of them all is told.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._clips = [u for u in corpus.utterances.values() if u.base_id == u.id]
        self._by_id = corpus.utterances
        self._derived: dict[str, list[Utterance]] = {}
        for utterance in corpus.utterances.values():
            if utterance.base_id != utterance.id and utterance.noise == CLEAN_NOISE:
                self._derived.setdefault(utterance.base_id, []).append(utterance)
        self._kept: dict[str, Samples] = {}
        self._envelopes: dict[str, Samples] = {}
        self._heads: dict[str, npt.NDArray[np.float32]] = {}

    def search(self, channel: Pcm, rate: int) -> list[Said]:
        """Return every clip that is said in `channel`, in order, wherever it is."""
        low = clip_search.lowered(channel, rate)
        if len(low) < clip_search.RATE // 2:
            return []
        places = clip_search.places(low, len(self._clips), self._head)
        looked_at = [self._looked_at(channel, rate, place) for place in places]
        likely = sorted((one for one in looked_at if one is not None), key=lambda one: -one.likeness)
        loudest_db = max((one.level_db for one in likely), default=0.0)
        found: list[Said] = []
        for one in likely:
            is_free = all(_overlap_ms(one.speech, other.speech) < OVERLAP_MS for other in found)
            if is_free and one.level_db > loudest_db - FAR_DB:
                found.append(one)
        return [self._with_onset(one, rate) for one in sorted(found, key=lambda one: one.speech.start_ms)]

    def _head(self, number: int) -> npt.NDArray[np.float32]:
        clip = self._clips[number]
        if clip.id not in self._heads:
            speech = self._speech(clip)
            self._heads[clip.id] = clip_search.lowered(speech[: clip_search.HEAD_MS * RATE // 1000], RATE)
        return self._heads[clip.id]

    def _looked_at(self, channel: Pcm, rate: int, place: clip_search.Place) -> Said | None:
        """Return what is said at a place, if it is its clip or something that was made of it."""
        clip = self._clips[place.clip]
        first = max(0, round((place.start_ms - AROUND_MS) * RATE / 1000))
        last = round((place.start_ms + AROUND_MS + _length_ms(clip)) * RATE / 1000)
        around = _heard(channel, rate, first, last)
        head = self._speech(clip)[: clip_search.HEAD_MS * RATE // 1000]
        likeness, at = _likeness(around[: len(head) + 2 * AROUND_MS * RATE // 1000], head)
        if likeness < LEAST_LIKELY:
            return None
        whole = _likeness(around, self._speech(clip))[0]
        if max(likeness, whole) < LEAST_LIKENESS:
            best = self._likeliest(around, self._derived.get(clip.id, []))
            if best is None or best[0] < LEAST_LIKENESS:
                return None
            likeness, at, clip = best
        start_ms = (first + at) * 1000 / RATE
        gain, until_ms, broken_ms = _said_until(around[at:], self._speech(clip))
        speech = Speech(start_ms, start_ms + (_length_ms(clip) if broken_ms is None else until_ms))
        level_db = clip.speech_level_dbfs + 20 * float(np.log10(max(gain, 1e-6)))
        behind_ms = clip.duration_ms - clip.speech_end_ms if broken_ms is None else 0.0
        file = Speech(start_ms - clip.speech_start_ms, speech.end_ms + behind_ms)
        broken_ms = None if broken_ms is None else start_ms + broken_ms
        return Said(clip.id, speech, start_ms, max(likeness, whole), level_db, file, broken_ms)

    def _with_onset(self, said: Said, rate: int) -> Said:
        clip = self._by_id[said.utterance_id]
        # A detector goes by how loud a clip is.
        gain = 10 ** ((said.level_db - clip.speech_level_dbfs) / 20)
        as_loud = np.clip(_pcm(clip, rate) * gain, -32768, 32767).astype(np.int16)
        heard = hear_agent(as_loud, rate, 900)
        if not heard:
            return said
        return replace(said, onset_ms=said.speech.start_ms + heard[0].start_ms - clip.speech_start_ms)

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
            pcm = _pcm(clip, RATE)
            first, last = (round(ms * RATE / 1000) for ms in (clip.speech_start_ms, clip.speech_end_ms))
            self._kept[clip.id] = _telephone(pcm[first:last])
        return self._kept[clip.id]

    def _loudness(self, clip: Utterance) -> Samples:
        if clip.id not in self._envelopes:
            self._envelopes[clip.id] = _envelope(self._speech(clip))
        return self._envelopes[clip.id]


def _pcm(clip: Utterance, rate: int) -> Pcm:
    """Decode a clip; one whose file is broken is never found."""
    try:
        return read_pcm(clip, rate)
    except ScenarioError:
        return np.zeros(0, np.int16)


def _length_ms(clip: Utterance) -> float:
    return clip.speech_end_ms - clip.speech_start_ms


def _heard(channel: Pcm, rate: int, first: int, last: int) -> Samples:
    """Return the samples from `first` to `last`, at RATE, of the channel's telephone band."""
    before, step = min(first, RATE // 4), rate // RATE
    piece = channel[(first - before) * step : (last + RATE // 4) * step]
    return _telephone(piece if step == 1 else resample(piece, rate, RATE))[before : before + last - first]


def _overlap_ms(one: Speech, other: Speech) -> float:
    return min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)


def _said_until(heard: Samples, clip: Samples) -> tuple[float, float, float | None]:
    """Return the gain that `clip` is heard with, until when it surely is, and from when on surely not, ms.

    Both begin with the same sample. The last is None where the clip is heard to its end.
    """
    heard = np.pad(heard[: len(clip)], (0, max(0, len(clip) - len(heard))))
    count = max(1, len(clip) * 1000 // (RATE * PIECE_MS))
    pieces = list(zip(np.array_split(heard, count), np.array_split(clip, count), strict=True))
    energies = np.array([float(np.dot(one, one)) for _, one in pieces])
    telling = np.flatnonzero(energies > np.mean(energies) * 10 ** (-FAINT_DB / 10))
    if not len(telling):
        return 0.0, 0.0, None
    gains = np.array([float(np.dot(*pieces[at])) for at in telling]) / energies[telling]
    # Of what is said the most has one gain; what was broken off has none behind.
    usual = float(np.percentile(gains, 90))
    if usual <= 0:
        return 0.0, 0.0, 0.0
    last = int(np.flatnonzero(gains > LEAST_GAIN * usual)[-1])
    piece_ms = len(clip) * 1000 / (RATE * count)
    broken_ms = float(telling[last + 1] * piece_ms) if last + 1 < len(telling) else None
    return usual, float((telling[last] + 1) * piece_ms), broken_ms


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
