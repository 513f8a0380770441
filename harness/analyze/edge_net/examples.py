"""Examples: speech whose edges are measured while it is clean, altered, cut or not, and put under a background.

The edges are those of harness/corpus/edges.py, in the very samples that are then put under the background. Half of the
clips keep their own ends; the others are cut somewhere and fade within 2 to 80 ms, so that an end says nothing of
what was said. Backgrounds: coloured noise, the colour of speech, several talkers, hum, and the corpus's own beds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.edge_net.features import (
    HOP_MS,
    Spectrum,
    Surroundings,
    features,
    quietest,
    spectrum_of,
    surroundings,
)
from harness.analyze.edge_net.network import REACH
from harness.corpus.edges import Edges, find_edges
from harness.corpus.levels import active_speech_level

RATE = 16_000
# Frames of an example, those apart that only its neighbours are for.
FRAMES = 66
SNR_DB = (2.0, 32.0)
USUAL_SNR_DB = (6.0, 14.0)
# Lengths are multiples of this, for transforms' sake.
_STEP = 800
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sound:
    """A clip, or a bed of noise, full scale 1: at RATE, and through the telephone's band at half of it."""

    wide: Samples
    narrow: Samples

    def at(self, rate: int) -> Samples:
        """Return it at one of the two rates."""
        return self.wide if rate == RATE else self.narrow


def sound(wide: Samples) -> Sound:
    """Make one of its samples at RATE."""
    return Sound(wide, halved(wide))


@dataclass(frozen=True, slots=True)
class Example:
    """What is seen about an edge, shape (FRAMES + 2 * REACH, CHANNELS), and at which of FRAMES, broken, the edge is.

    That of a start runs backwards.
    """

    seen: npt.NDArray[np.float16]
    at: float


def examples_of(
    rng: np.random.Generator, voices: Sequence[Sound], beds: Sequence[Sound], noisy: int
) -> list[tuple[Example, Example]]:
    """Return start and end of one altered voice under `noisy` backgrounds; none where it has no edges."""
    rate, clean = _altered(rng, voices)
    silence = np.zeros(rate // 2)
    edges = find_edges(np.concatenate([silence, clean, silence]), rate)
    if edges is None or edges.end_ms - edges.start_ms < 250:
        return []
    level = active_speech_level(clean, rate).active_dbfs
    clean = clean * 10 ** ((rng.uniform(-36, -18) - level) / 20)
    level = active_speech_level(clean, rate).active_dbfs
    found = []
    for _ in range(noisy):
        snr_db = float(rng.uniform(*(USUAL_SNR_DB if rng.random() < 0.5 else SNR_DB)))
        noise_dbfs = level - snr_db
        found.append(
            _under(rng, clean, rate, Edges(edges.start_ms - 500, edges.end_ms - 500), noise_dbfs, voices, beds)
        )
    return found


def _altered(rng: np.random.Generator, voices: Sequence[Sound]) -> tuple[int, Samples]:
    x = voices[int(rng.integers(len(voices)))].wide
    length = int(rng.uniform(1.0, 4.0) * RATE)
    if len(x) > length:
        # Its end, its beginning, or something from the middle.
        where = rng.random()
        at = len(x) - length if where < 0.4 else 0 if where < 0.8 else int(rng.integers(len(x) - length))
        x = x[at : at + length]
    x = x.copy()
    if rng.random() < 0.35:
        x = _cut(rng, x)
    if rng.random() < 0.35:
        x = _cut(rng, x[::-1])[::-1]
    if rng.random() < 0.7:
        places = np.arange(0, len(x) - 1, rng.uniform(0.8, 1.25))
        x = np.asarray(np.interp(places, np.arange(len(x)), x))
    x = np.pad(x, (0, -len(x) % (2 * _STEP)))
    if rng.random() < 0.35:
        # A room: by 60 dB in 0.07 to 0.7 s.
        tail = rng.standard_normal(len(x)) * np.exp(-np.arange(len(x)) / RATE / rng.uniform(0.01, 0.1))
        x = x + 0.03 * rng.uniform(0.1, 1) * np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(tail), len(x))
    x = _coloured(x, _tilt(rng, len(x), 6.0))
    if rng.random() < 0.7:
        return RATE, x
    narrow = halved(x)
    return RATE // 2, _ulaw(narrow) if rng.random() < 0.5 else narrow


def _cut(rng: np.random.Generator, x: Samples) -> Samples:
    """Let the speech fade away somewhere in it."""
    at = int(rng.uniform(0.4, 1.0) * len(x))
    fade = np.exp(-np.arange(len(x) - at) / RATE / (10 ** rng.uniform(-2.7, -1.1)))
    out = x.copy()
    out[at:] *= fade
    return out


def _under(
    rng: np.random.Generator,
    clean: Samples,
    rate: int,
    edges: Edges,
    noise_dbfs: float,
    voices: Sequence[Sound],
    beds: Sequence[Sound],
) -> tuple[Example, Example]:
    before_ms, behind_ms = rng.uniform(600, 1500, 2)
    before, behind = int(before_ms * rate / 1000), int(behind_ms * rate / 1000)
    before_ms = before * 1000 / rate
    channel = np.concatenate([np.zeros(before), clean, np.zeros(behind + -(before + len(clean) + behind) % _STEP)])
    start_ms, end_ms = edges.start_ms + before_ms, edges.end_ms + before_ms
    noise = _background(rng, len(channel), rate, voices, beds)
    noise *= 10 ** (noise_dbfs / 20) / (np.sqrt(np.mean(noise**2)) + 1e-9)
    is_own = rng.random() < 0.2
    if is_own:
        # A clip that was mixed with noise before it was put into a silent channel.
        on, off = start_ms - rng.uniform(60, 500), end_ms + rng.uniform(60, 500)
        at = np.arange(len(noise)) * 1000 / rate
        noise[(at < on) | (at > off)] = 0
    pcm = np.clip(np.round((channel + noise) * 32768), -32768, 32767).astype(np.int16)
    spectrum = spectrum_of(pcm, rate)
    heard = start_ms + rng.uniform(-60, 150), end_ms + rng.uniform(-150, 60)
    at_ms = np.arange(len(spectrum.bands)) * HOP_MS
    is_speech = (at_ms >= heard[0]) & (at_ms <= heard[1])
    if is_own or rng.random() < 0.1:
        is_noise = quietest(spectrum, (at_ms > heard[0] - 500) & (at_ms < heard[1] + 500), 0.12)
    else:
        is_noise = (at_ms < heard[0] - 350) | (at_ms > heard[1] + 350)
    around = surroundings(spectrum, is_noise, is_speech)
    places = (rng.uniform(0.15, 0.65, 2) * FRAMES).astype(int)
    backwards = _seen(spectrum, around, start_ms, FRAMES - int(places[0]))
    start = Example(backwards.seen[::-1], FRAMES - 1 - backwards.at)
    return start, _seen(spectrum, around, end_ms, int(places[1]))


def _seen(spectrum: Spectrum, around: Surroundings, edge_ms: float, place: int) -> Example:
    first = round(edge_ms / HOP_MS) - place
    seen = features(spectrum, around, first - REACH, FRAMES + 2 * REACH).astype(np.float16)
    return Example(seen, edge_ms / HOP_MS - first)


def _background(
    rng: np.random.Generator, count: int, rate: int, voices: Sequence[Sound], beds: Sequence[Sound]
) -> Samples:
    kind = rng.random()
    if kind < 0.25:
        noise = rng.standard_normal(count)
        if rng.random() < 0.5:
            noise = _coloured(noise, _tilt(rng, count, 6.0))
    elif kind < 0.45:
        # Pink to brown.
        noise = _coloured(rng.standard_normal(count), np.arange(1.0, count // 2 + 2) ** -float(rng.uniform(0.3, 1.0)))
    elif kind < 0.65:
        noise = _like_speech(rng, voices[int(rng.integers(len(voices)))], count, rate)
    elif kind < 0.8:
        parts = [_piece(rng, voices[int(rng.integers(len(voices)))], count, rate) for _ in range(rng.integers(4, 10))]
        noise = np.sum([part / (np.std(part) + 1e-9) for part in parts], axis=0)
    else:
        noise = _piece(rng, beds[int(rng.integers(len(beds)))], count, rate)
    if rng.random() < 0.2:
        at = np.arange(count) / rate
        noise = noise * (1 + rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * rng.uniform(0.5, 5) * at + rng.uniform(0, 6)))
    return np.asarray(noise, np.float64)


def _piece(rng: np.random.Generator, of: Sound, count: int, rate: int) -> Samples:
    x = of.at(rate)
    return np.take(x, np.arange(count) + int(rng.integers(len(x))), mode="wrap")


def _like_speech(rng: np.random.Generator, voice: Sound, count: int, rate: int) -> Samples:
    """Noise of a voice's long-term spectrum."""
    x = voice.at(rate)
    size = 512
    frames = x[: len(x) // size * size].reshape(-1, size) * np.hanning(size)
    mean = np.sqrt(np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0))
    shape = np.interp(np.linspace(0, 1, count // 2 + 1), np.linspace(0, 1, len(mean)), mean)
    return _coloured(rng.standard_normal(count), shape)


def _tilt(rng: np.random.Generator, count: int, most_db: float) -> Samples:
    """Return a smooth response over log frequency."""
    places = np.linspace(0, 1, 6)
    gains = np.cumsum(rng.uniform(-most_db, most_db, 6))
    hertz = np.linspace(0, 1, count // 2 + 1)
    return np.asarray(10 ** (np.interp(np.log1p(20 * hertz) / np.log(21), places, gains - gains.mean()) / 20))


def _coloured(x: Samples, response: Samples) -> Samples:
    return np.fft.irfft(np.fft.rfft(x) * response, len(x))


def halved(x: Samples) -> Samples:
    """Return it at half the rate, through the telephone's band from 200 Hz."""
    spectrum = np.fft.rfft(x)
    hertz = np.linspace(0, RATE / 2, len(spectrum))
    spectrum[hertz < 200] *= 0.1
    kept = spectrum[: len(x) // 2 // 2 + 1]
    return np.fft.irfft(kept * (np.linspace(0, RATE / 4, len(kept)) < 3500), len(x) // 2) / 2


def _ulaw(x: Samples) -> Samples:
    loudest = np.max(np.abs(x)) + 1e-9
    y = np.clip(x / loudest * 0.5, -1, 1)
    coded = np.round(np.sign(y) * np.log1p(255 * np.abs(y)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(coded) * (256 ** np.abs(coded) - 1) / 255 * loudest * 2)
