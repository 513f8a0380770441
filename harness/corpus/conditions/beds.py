"""Noise beds: long stretches of background that clips are cut from. Seeded; int16 mono at 48 kHz."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.corpus.audio import Pcm
from harness.corpus.conditions.noises.babble import babble
from harness.corpus.conditions.noises.car import car
from harness.corpus.conditions.noises.hum import hum
from harness.corpus.conditions.noises.music import music
from harness.corpus.conditions.noises.office import office
from harness.corpus.conditions.noises.recorded import joined, recorded
from harness.corpus.conditions.noises.shaping import RATE, Samples, unit_rms
from harness.corpus.conditions.noises.speech_shaped import speech_shaped
from harness.corpus.conditions.noises.street import street
from harness.corpus.conditions.specs import (
    BabbleSpec,
    CarSpec,
    FileSpec,
    HumSpec,
    MusicSpec,
    NoiseSpec,
    OfficeSpec,
    SpeechShapedSpec,
    StreetSpec,
)
from harness.model.errors import ScenarioError

BED_DBFS = -26.0
# What was made over this much longer is faded into the beginning, so that a bed can be read around its end.
_JOIN_MS = 50
# Two poles, as a telephone's microphone has them: without, ventilation and cars would be all infrasound, and an SNR
# over the whole band would say nothing about what masks speech.
_MICROPHONE_HZ = 100.0


def build_bed(spec: NoiseSpec, rng: np.random.Generator, *, voices: Sequence[Pcm] = (), folder: Path = Path()) -> Pcm:
    """Make a bed of `spec.bed_ms`, RMS -26 dBFS; its end joins its beginning.

    `voices` are the talkers of a babble (48 kHz, one a talker); `folder` is where a file's path begins. Raises
    ScenarioError.
    """
    count = RATE * spec.bed_ms // 1000
    sound = joined(_sound(spec, count + RATE * _JOIN_MS // 1000, rng, voices, folder), count)
    pcm = unit_rms(_at_microphone(sound)) * 32768 * 10 ** (BED_DBFS / 20)
    # A peak 26 dB over the RMS is rare, and a click: flat is what a recording of it would be.
    return np.clip(np.round(pcm), -32768, 32767).astype(np.int16)


def cut_bed(bed: Pcm, count: int, rng: np.random.Generator) -> tuple[Pcm, int]:
    """Take `count` samples of the bed from a drawn place on; return them and the place, a whole number of ms.

    Reading goes on at the bed's beginning where it ends.
    """
    offset_ms = int(rng.integers(len(bed) * 1000 // RATE))
    return bed_from(bed, offset_ms, count), offset_ms


def bed_from(bed: Pcm, offset_ms: int, count: int, rate: int = RATE) -> Pcm:
    """`count` samples of a bed at `rate` from `offset_ms` on, around its end."""
    begin = offset_ms * rate // 1000
    return bed[np.arange(begin, begin + count) % len(bed)]


def _at_microphone(x: Samples) -> Samples:
    fourth = (np.fft.rfftfreq(len(x), 1 / RATE) / _MICROPHONE_HZ) ** 4
    return np.fft.irfft(np.fft.rfft(x) * np.sqrt(fourth / (1 + fourth)), len(x))


def _sound(spec: NoiseSpec, count: int, rng: np.random.Generator, voices: Sequence[Pcm], folder: Path) -> Samples:
    match spec:
        case BabbleSpec():
            if len(voices) < len(spec.talkers):
                raise ScenarioError(f"babble: {len(voices)} voices for {len(spec.talkers)} talkers")
            return babble(count, rng, voices)
        case SpeechShapedSpec():
            return speech_shaped(count, rng)
        case StreetSpec():
            return street(count, rng)
        case CarSpec():
            return car(count, rng)
        case OfficeSpec():
            return office(count, rng)
        case HumSpec():
            return hum(count, rng, spec.mains_hz)
        case MusicSpec():
            return music(count, rng)
        case FileSpec():
            return recorded(count, folder / spec.path)
