"""Music on hold, made from the seed: four chords of a key, bass, arpeggio, melody and drums. Nobody's work."""

from functools import lru_cache

import numpy as np

from harness.corpus.conditions.noises.shaping import RATE, Samples, add, bell, shaped_noise

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_PENTATONIC = (0, 2, 4, 7, 9)
# Degrees of the scale, counted from 0: the turns that most popular songs are made of.
_PROGRESSIONS = ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (1, 4, 0, 5))
_BEATS_A_BAR = 4
_LOWEST_KEY, _KEYS = 48, 12


def music(count: int, rng: np.random.Generator) -> Samples:
    """Play bars until `count` samples are full; key, tempo, chords and melody are drawn."""
    beat = round(60 / float(rng.uniform(84, 116)) * RATE)
    key = _LOWEST_KEY + int(rng.integers(_KEYS))
    chords = _PROGRESSIONS[int(rng.integers(len(_PROGRESSIONS)))]
    drums = _drums(rng)
    bed = np.zeros(count)
    phrases = [_phrase(rng) for _ in range(2)]
    for bar, at in enumerate(range(0, count, _BEATS_A_BAR * beat)):
        chord = _triad(key, chords[bar % len(chords)])
        _play_chord(bed, chord, at, beat)
        # Two phrases in turn, as in most tunes: question, question, answer, question.
        _play_melody(bed, key, phrases[bar % 4 == 2], at, beat)
        _play_drums(bed, drums, at, beat)
    return bed


def _triad(key: int, degree: int) -> tuple[int, ...]:
    steps = [degree + third for third in (0, 2, 4)]
    return tuple(key + _MAJOR[step % 7] + 12 * (step // 7) for step in steps)


def _phrase(rng: np.random.Generator) -> list[tuple[float, int]]:
    """Return a bar of melody: (beat, step of the pentatonic scale)."""
    step, notes = int(rng.integers(3, 7)), []
    for eighth in range(2 * _BEATS_A_BAR):
        if eighth == 0 or rng.random() < 0.55:
            step = int(np.clip(step + rng.integers(-2, 3), 0, 9))
            notes.append((eighth / 2, step))
    return notes


def _play_chord(bed: Samples, chord: tuple[int, ...], at: int, beat: int) -> None:
    for note in chord:
        add(bed, 0.16 * _pad(note + 12, _BEATS_A_BAR * beat), at)
    for number in range(_BEATS_A_BAR):
        add(bed, 0.5 * _pluck(chord[0] - 12, beat, 3), at + number * beat)
    for eighth in range(2 * _BEATS_A_BAR):
        add(bed, 0.22 * _pluck(chord[eighth % 3] + 12, beat, 6), at + eighth * beat // 2)


def _play_melody(bed: Samples, key: int, phrase: list[tuple[float, int]], at: int, beat: int) -> None:
    for when, step in phrase:
        note = key + 24 + _PENTATONIC[step % 5] + 12 * (step // 5)
        add(bed, 0.35 * _pluck(note, beat, 4), at + round(when * beat))


def _play_drums(bed: Samples, drums: tuple[Samples, Samples, Samples], at: int, beat: int) -> None:
    kick, snare, hat = drums
    for number in range(_BEATS_A_BAR):
        add(bed, kick if number % 2 == 0 else snare, at + number * beat)
        for half in (0, beat // 2):
            add(bed, hat, at + number * beat + half)


def _drums(rng: np.random.Generator) -> tuple[Samples, Samples, Samples]:
    """Kick (a falling sine), snare and hat (bursts of noise)."""
    seconds = np.arange(RATE // 4) / RATE
    kick = np.sin(2 * np.pi * (48 * seconds - 5 * np.exp(-seconds / 0.03))) * np.exp(-seconds / 0.07)
    snare = shaped_noise(len(seconds), rng, bell(1800, 1500)) * np.exp(-seconds / 0.05)
    hat = shaped_noise(len(seconds), rng, bell(9000, 2500)) * np.exp(-seconds / 0.018)
    return 0.8 * kick, 0.22 * snare, 0.07 * hat


@lru_cache(maxsize=256)
def _pluck(note: int, length: int, partials: int) -> Samples:
    """Return a struck string: partials that decay, the higher the sooner."""
    seconds = np.arange(length) / RATE
    tones = [
        np.sin(2 * np.pi * k * _hz(note) * seconds) * np.exp(-seconds * k / 0.35) / k for k in range(1, partials + 1)
    ]
    return np.asarray(np.sum(tones, axis=0) * _edges(length, 0.003), np.float64)


@lru_cache(maxsize=256)
def _pad(note: int, length: int) -> Samples:
    """Return held strings: two voices a little out of tune with each other."""
    seconds = np.arange(length) / RATE
    tones = [
        np.sin(2 * np.pi * k * _hz(note) * detuned * seconds) / k**1.5
        for k in range(1, 7)
        for detuned in (0.998, 1.002)
    ]
    return np.asarray(np.sum(tones, axis=0) * _edges(length, 0.12), np.float64)


def _edges(length: int, fade_s: float) -> Samples:
    """Fade in and out, so that no note clicks."""
    fade = round(fade_s * RATE)
    ramp = np.arange(length) / fade
    return np.clip(np.minimum(ramp, ramp[::-1]), 0, 1)


def _hz(note: int) -> float:
    """Return the frequency of a MIDI note (69 is the A of 440 Hz)."""
    return float(440 * 2 ** ((note - 69) / 12))
