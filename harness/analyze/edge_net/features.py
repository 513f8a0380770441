"""What the network sees: every 10 ms, how far each band stands over the background, and how loud that is for speech.

Bands are 24, as wide as the ear's (mel), in Hann windows of 32 ms: voice shows in them 15 to 20 dB under the background
of the whole channel. Windows of 10 ms tell low from high and when; the periodicity (voicing.py) tells voice. Beside
them stands, without change, each band's background against the speech's level: the definition of an edge goes by that.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.corpus.voicing import HOP_MS as VOICING_HOP_MS
from harness.corpus.voicing import periodicity

HOP_MS = 10
FRAME_MS, SHORT_MS = 32, 10
BANDS = 24
BAND_HZ = (80.0, 7600.0)
SHORT_EDGE_HZ = 2000.0
CHANNELS = 2 * BANDS + 4
# A frame with less than this is digital silence, no background (dB over full scale).
SILENT_DB = -85.0
# The background counts as no further under the speech than this.
LEAST_NOISE_DB = -70.0
_BATCH = 2048
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A channel, frame i about the instant i * HOP_MS. Powers over full scale."""

    rate: int
    # Shape (samples,), full scale 1.
    signal: Floats
    # Shape (frames, BANDS): a band that the rate does not hold is 0.
    bands: Floats
    # Shape (frames, 2): below and above SHORT_EDGE_HZ.
    short: Floats

    @property
    def total_db(self) -> Floats:
        """Level of each frame."""
        return np.asarray(10 * np.log10(np.sum(self.bands, axis=1) + 1e-12), np.float32)

    def periodicity(self, first: int, count: int) -> Floats:
        """Return that of `count` frames from frame `first` on, all of them within the channel."""
        # What lies around a frame counts, too: two hops are more than half a window of it.
        begin = max(0, first - 2)
        piece = self.signal[begin * HOP_MS * self.rate // 1000 : (first + count + 2) * HOP_MS * self.rate // 1000]
        voiced = periodicity(piece.astype(np.float64), self.rate)
        at = (np.arange(count) + first - begin) * (HOP_MS / VOICING_HOP_MS)
        return np.asarray(np.interp(at, np.arange(len(voiced)), voiced), np.float32)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The background's mean power by band, shape (BANDS,), and in the short windows, (2,); the speech's power."""

    bands: Floats
    short: Floats
    speech: float


def spectrum_of(pcm: npt.NDArray[np.int16], rate: int) -> Spectrum:
    """Measure mono int16 `pcm`."""
    x = np.asarray(pcm / 32768, np.float32)
    count = len(x) * 1000 // (rate * HOP_MS) + 1
    edges = _mel_edges()
    bands, short = np.zeros((count, BANDS), np.float32), np.zeros((count, 2), np.float32)
    for out, length_ms, cuts in ((bands, FRAME_MS, edges), (short, SHORT_MS, (BAND_HZ[0], SHORT_EDGE_HZ, BAND_HZ[1]))):
        size = rate * length_ms // 1000
        window = np.hanning(size + 1)[:-1].astype(np.float32)
        # Sums of its squares give a sine's power, whatever the length.
        window /= np.sqrt(np.sum(window**2) * size / 2)
        shares = _shares(np.asarray(cuts), size, rate)
        padded = np.concatenate([np.zeros(size // 2, np.float32), x, np.zeros(size, np.float32)])
        starts = np.arange(count) * rate * HOP_MS // 1000
        for at in range(0, count, _BATCH):
            frames = padded[starts[at : at + _BATCH, None] + np.arange(size)] * window
            out[at : at + _BATCH] = np.abs(np.fft.rfft(frames, axis=1)).astype(np.float32) ** 2 @ shares
    return Spectrum(rate, x, bands, short)


def surroundings(spectrum: Spectrum, is_background: Flags, is_speech: Flags) -> Surroundings:
    """Return what the flagged frames say of the background and of the speech over it."""
    is_background = is_background & (spectrum.total_db > SILENT_DB)
    whole = float(np.mean(np.sum(spectrum.bands[is_speech], axis=1))) if is_speech.any() else 1e-6
    if is_background.any():
        bands, short = (np.mean(power[is_background], axis=0) for power in (spectrum.bands, spectrum.short))
    else:
        bands, short = np.zeros(BANDS, np.float32), np.zeros(2, np.float32)
    speech = max(whole - float(np.sum(bands)), 0.1 * whole, 1e-9)
    least = speech * 10 ** (LEAST_NOISE_DB / 10)
    return Surroundings(np.maximum(bands, least / BANDS), np.maximum(short, least / 2), speech)


def quietest(spectrum: Spectrum, within: Flags, share: float) -> Flags:
    """Return the quietest frames of those flagged, digital silence apart: the background of what has its own."""
    level = np.convolve(spectrum.total_db, np.ones(3) / 3, "same")
    within = within & (spectrum.total_db > SILENT_DB)
    if not within.any():
        return within
    return np.asarray(within & (level <= np.quantile(level[within], share)))


def features(spectrum: Spectrum, around: Surroundings, first: int, count: int) -> Floats:
    """Return `count` frames from frame `first` on as the network sees them, shape (count, CHANNELS).

    Frames outside of the channel are as silent as can be.
    """
    seen = np.zeros((count, CHANNELS), np.float32)
    begin, end = max(0, first), min(len(spectrum.bands), first + count)
    seen[:, :BANDS] = -1.0
    if begin < end:
        inside = slice(begin - first, end - first)
        seen[inside, :BANDS] = _over(spectrum.bands[begin:end], around.bands)
        seen[inside, 2 * BANDS : 2 * BANDS + 2] = _over(spectrum.short[begin:end], around.short)
        seen[inside, 2 * BANDS + 2] = spectrum.periodicity(begin, end - begin)
    seen[:, BANDS : 2 * BANDS] = np.clip(10 * np.log10(around.bands / around.speech) + 30, -40, 40) / 20
    missing = np.asarray(_mel_edges())[1:] > spectrum.rate / 2
    seen[:, :BANDS][:, missing] = 0
    seen[:, BANDS : 2 * BANDS][:, missing] = 0
    seen[:, -1] = spectrum.rate < 12_000
    return seen


def _over(power: Floats, background: Floats) -> Floats:
    return np.asarray(np.clip(10 * np.log10(power / background + 1e-6), -10, 40) / 10, np.float32)


def _mel_edges() -> tuple[float, ...]:
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in BAND_HZ)
    return tuple(float(700 * (10 ** (mel / 2595) - 1)) for mel in np.linspace(low, high, BANDS + 1))


def _shares(cuts: npt.NDArray[np.float64], size: int, rate: int) -> Floats:
    """Return by which share each bin counts towards each band, shape (bins, bands): none is without a bin."""
    width = rate / size
    hertz = np.arange(size // 2 + 1) * width
    low, high = np.maximum(cuts[:-1], hertz[:, None] - width / 2), np.minimum(cuts[1:], hertz[:, None] + width / 2)
    return np.asarray(np.maximum(0, high - low) / width, np.float32)
