"""Speech-like sound without words: a voiced tone of moving pitch through moving formants, in syllables.

It stands for what a voice would have said: as long, as loud and as uneven as speech, so that edges, codecs, voice
detectors and callers treat it as such. Made once; sentences are pieces of it.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from target_stack.frames import SPEECH_RATE, Pcm

LONGEST_S = 20.0
# Of the longest pause within it, in amplitude; speech has no gap as long as an onset detector's patience.
_DIP = 0.12
_SYLLABLES_PER_S = 4.5
_PITCH_HZ = 118.0
_HIGHEST_HZ = 3800.0
# RMS of the whole, relative to full scale: about -20 dBFS, as telephone speech.
_LEVEL = 0.1
_FADE_MS = 15
_LENGTHS_MS = 20

# First and second formant of ten vowels (Peterson and Barney 1952, men), in Hz.
_VOWELS = (
    (270, 2290),
    (390, 1990),
    (530, 1840),
    (660, 1720),
    (730, 1090),
    (570, 840),
    (440, 1020),
    (300, 870),
    (640, 1190),
    (490, 1350),
)
_BANDWIDTH_HZ = 120.0

_Floats = npt.NDArray[np.float32]


def voiced(duration_ms: float) -> Pcm:
    """Return int16 mono at SPEECH_RATE, whole 20 ms long, at most LONGEST_S. Shared: not to be written to."""
    steps = max(1, round(min(duration_ms, LONGEST_S * 1000) / _LENGTHS_MS))
    return _piece(steps)


@lru_cache(maxsize=1024)
def _piece(steps: int) -> Pcm:
    samples = _voice()[: steps * _LENGTHS_MS * SPEECH_RATE // 1000].copy()
    fade = np.linspace(1.0, 0.0, _FADE_MS * SPEECH_RATE // 1000, dtype=np.float32)
    samples[-len(fade) :] = (samples[-len(fade) :] * fade).astype(np.int16)
    samples.setflags(write=False)
    return samples


@lru_cache(maxsize=1)
def _voice() -> Pcm:
    rng = np.random.default_rng(1)
    times = (np.arange(int(LONGEST_S * SPEECH_RATE)) / SPEECH_RATE).astype(np.float32)
    first, second, strength = _syllables(times, rng)
    pitch = _PITCH_HZ * (1 + 0.12 * np.sin(2 * np.pi * 0.31 * times) + 0.05 * np.sin(2 * np.pi * 2.7 * times))
    phase = np.cumsum(2 * np.pi * pitch / SPEECH_RATE)
    sound = np.zeros(len(times), np.float32)
    for harmonic in range(1, int(_HIGHEST_HZ / _PITCH_HZ) + 1):
        heights = _height(harmonic * pitch, first) + 0.5 * _height(harmonic * pitch, second) + 0.01
        sound += (heights / harmonic**0.5 * np.sin(harmonic * phase)).astype(np.float32)
    sound *= strength
    sound *= _LEVEL / float(np.sqrt(np.mean(sound**2)))
    samples: Pcm = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
    return samples


def _syllables(times: _Floats, rng: np.random.Generator) -> tuple[_Floats, _Floats, _Floats]:
    """Return both formants and the loudness over time: a vowel a syllable, glided into, quieter at its edges."""
    places = times * _SYLLABLES_PER_S
    index = places.astype(np.int64)
    vowels = np.array(_VOWELS, np.float32)[rng.integers(len(_VOWELS), size=int(index[-1]) + 2)]
    within = (places - index).astype(np.float32)
    glide = np.clip((within - 0.6) / 0.4, 0, 1)[:, None]
    formants = (1 - glide) * vowels[index] + glide * vowels[index + 1]
    loudness = rng.uniform(0.6, 1.0, size=int(index[-1]) + 1).astype(np.float32)[index]
    # It begins loud: the first sample of a sentence is where it is heard to begin.
    shape = _DIP + (1 - _DIP) * np.cos(np.pi * (within - 0.3) / 1.4) ** 2
    return formants[:, 0], formants[:, 1], (loudness * shape).astype(np.float32)


def _height(frequency: npt.NDArray[np.floating], formant: _Floats) -> npt.NDArray[np.floating]:
    height: npt.NDArray[np.floating] = 1 / (1 + ((frequency - formant) / _BANDWIDTH_HZ) ** 2)
    return height
