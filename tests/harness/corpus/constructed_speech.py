"""Utterances put together from sounds of known length and level, so that their edges are known and not measured.

Vowels are harmonics of a pitch through two formants, fricatives noise of a band, releases short bursts behind a
closure, nasals a murmur. An utterance begins and ends with each of them. Its edge is where its last sound stops, or,
where that fades, where it is `BELOW_DB` under the utterance's active level (ITU-T P.56).
"""

from dataclasses import dataclass

import numpy as np

from harness.corpus.levels import active_speech_level

RATE = 16000
BELOW_DB = 30.0
LEVEL_DBFS = -26.0
BEGINNINGS = ("vowel", "fricative", "plosive")
ENDINGS = ("vowel", "fade", "fricative", "release", "nasal")


@dataclass(frozen=True, slots=True)
class Constructed:
    """Float samples at RATE, silence of zeros around them, and where speech begins and ends (ms)."""

    signal: np.ndarray
    start_ms: float
    end_ms: float


def silence(ms):
    """Return zeros."""
    return np.zeros(round(RATE * ms / 1000))


def noise(ms, dbfs, rng, band_hz=(50, 7900)):
    """Return noise of a band, at an RMS level."""
    count = round(RATE * ms / 1000)
    spectrum = np.fft.rfft(rng.standard_normal(count + RATE // 10))
    hertz = np.fft.rfftfreq(count + RATE // 10, 1 / RATE)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0
    return _at(np.fft.irfft(spectrum, count + RATE // 10)[:count], dbfs)


def vowel(ms, dbfs, rng, formants=(500, 1500)):
    """Return a vowel whose pitch glides down a little."""
    count = round(RATE * ms / 1000)
    pitch = rng.uniform(90, 220) * (1 - 0.1 * np.arange(count) / count)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    total = np.zeros(count)
    for k in range(1, 60):
        hertz = k * pitch
        gain = sum(1 / (1 + ((hertz - formant) / 120) ** 2) for formant in formants) + 0.02
        total += np.where(hertz < RATE / 2 - 200, gain * np.cos(k * phase), 0)
    return _at(total, dbfs)


def utterance(beginning, ending, rng):
    """Put one together at LEVEL_DBFS."""
    lead_ms, tail_ms = rng.uniform(300, 700, 2)
    body = [_beginning(beginning, rng)]
    for _ in range(int(rng.integers(2, 5))):
        body += [_syllable(rng), silence(rng.choice([0, 40, 70]))]
    body.append(_syllable(rng))
    last, fade = _ending(ending, rng)
    signal = np.concatenate([silence(lead_ms), *body, last, silence(tail_ms)])
    signal = signal * 10 ** ((LEVEL_DBFS - active_speech_level(signal, RATE).active_dbfs) / 20)
    spoken = np.flatnonzero(signal)
    end_ms = (spoken[-1] + 1) * 1000 / RATE
    if fade is not None:
        begins_dbfs, falls_db_per_ms = fade
        until_ms = (begins_dbfs + BELOW_DB) / falls_db_per_ms
        end_ms += until_ms - len(last) * 1000 / RATE
    return Constructed(signal, spoken[0] * 1000 / RATE, end_ms)


def _syllable(rng):
    return vowel(rng.uniform(110, 220), rng.uniform(-3, 2), rng, (rng.uniform(300, 800), rng.uniform(1000, 2300)))


def _beginning(kind, rng):
    if kind == "fricative":
        return noise(rng.uniform(70, 150), rng.uniform(-20, -10), rng, (2500, 7500))
    if kind == "plosive":
        return np.concatenate([noise(8, -12, rng), noise(rng.uniform(20, 60), -20, rng, (800, 5000))])
    return silence(0)


def _ending(kind, rng):
    """Return the last sound and, of a fade, (level it begins at, dB it falls a ms); levels as those of syllables."""
    if kind == "fricative":
        return noise(rng.uniform(80, 180), rng.uniform(-22, -10), rng, (2500, 7500)), None
    if kind == "release":
        closure = silence(rng.uniform(50, 105))
        return np.concatenate([closure, noise(rng.uniform(12, 40), rng.uniform(-22, -12), rng, (500, 6000))]), None
    if kind == "nasal":
        return vowel(rng.uniform(60, 120), rng.uniform(-18, -8), rng, (250, 1200)), None
    if kind == "fade":
        falls = 60 / rng.uniform(60, 200)
        sound = vowel(60 / falls, 0, rng)
        return sound * 10 ** (-falls * np.arange(len(sound)) * 1000 / RATE / 20), (0.0, falls)
    return silence(0), None


def _at(x, dbfs):
    return x * 10 ** (dbfs / 20) / np.sqrt(np.mean(x * x)) if len(x) else x
