"""Noise beds: long stretches of background that clips are cut from. Seeded; int16 mono at 48 kHz."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydub import AudioSegment

from harness.corpus.audio import Pcm
from harness.corpus.levels import active_speech_level, rms_dbfs

RATE = 48000
BED_DBFS = -26.0
# The road's spectrum: flat below the corner, then falling 6 dB an octave, gone above what tyres and wind make.
_ROAD_CORNER_HZ = 250.0
_ROAD_TOP_HZ = 9000.0


def segment(pcm: Pcm) -> AudioSegment:
    """Wrap samples as a pydub segment (mono, 48 kHz)."""
    return AudioSegment(data=pcm.tobytes(), sample_width=2, frame_rate=RATE, channels=1)


def samples(audio: AudioSegment) -> Pcm:
    """Return a pydub segment's samples, shape (samples,)."""
    return np.frombuffer(audio.raw_data, np.int16)


def babble_bed(voices: list[Pcm], length_ms: int, rng: np.random.Generator) -> Pcm:
    """All `voices` at the same active level, each looped from a place of its own, mixed."""
    bed = AudioSegment.silent(length_ms, frame_rate=RATE)
    for voice in voices:
        # 12 dB down each, so that the sum of many cannot clip.
        talker = segment(voice).apply_gain(BED_DBFS - 12 - active_speech_level(voice, RATE).active_dbfs)
        begin = int(rng.integers(len(talker)))
        bed = bed.overlay(talker[begin:] + talker[:begin], loop=True)
    return _levelled(bed)


def street_bed(length_ms: int, rng: np.random.Generator) -> Pcm:
    """Road noise, an idling engine's harmonics, and vehicles that come and go."""
    count = RATE * length_ms // 1000
    road = _shaped(count, rng, lambda hz: 1 / np.sqrt(1 + (hz / _ROAD_CORNER_HZ) ** 2) * (hz < _ROAD_TOP_HZ))
    tyres = _shaped(count, rng, lambda hz: np.asarray(np.exp(-(((hz - 1000) / 700) ** 2)), np.float64))
    traffic = 0.35 + _passing(count, rng)
    mixed = road * (0.6 + 0.4 * traffic) + 0.5 * tyres * traffic + 0.3 * _engine(count, rng)
    peak = float(np.max(np.abs(mixed)))
    return _levelled(segment(np.round(mixed * (16384 / peak)).astype(np.int16)))


def _levelled(bed: AudioSegment) -> Pcm:
    return samples(bed.apply_gain(BED_DBFS - rms_dbfs(samples(bed))))


def _shaped(
    count: int, rng: np.random.Generator, gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """White noise with the spectrum `gain(hz)`, RMS 1, cut off below 30 Hz."""
    hz = np.fft.rfftfreq(count, 1 / RATE).astype(np.float64)
    spectrum = np.fft.rfft(rng.standard_normal(count)) * gain(hz) * (hz > 30)
    noise = np.fft.irfft(spectrum, count)
    levelled: NDArray[np.float64] = noise / np.sqrt(np.mean(noise**2))
    return levelled


def _passing(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Loudness of vehicles driving by: one about every 3 s, each a bell of 0.6 to 1.5 s."""
    seconds = np.arange(count) / RATE
    loudness = np.zeros(count)
    for _ in range(max(1, int(seconds[-1] / 3))):
        centre, width, strength = rng.uniform(0, seconds[-1]), rng.uniform(0.6, 1.5), rng.uniform(0.3, 1.0)
        loudness += strength * np.exp(-(((seconds - centre) / width) ** 2))
    return loudness


def _engine(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Harmonics of a slowly wandering firing rate near 45 Hz."""
    wander = np.cumsum(rng.standard_normal(count // RATE + 2))
    rate_hz = 45 + 3 * np.tanh(np.interp(np.arange(count) / RATE, np.arange(len(wander)), wander))
    phase = 2 * np.pi * np.cumsum(rate_hz) / RATE
    total = sum(np.sin(k * phase + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 9))
    return np.asarray(total / np.sqrt(np.mean(np.square(total))))
