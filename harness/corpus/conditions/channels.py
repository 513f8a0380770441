"""The line between microphone and agent: how wide it is, and which codec is on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm, resample
from harness.corpus.conditions.codecs import CODECS, Codec
from harness.corpus.conditions.names import CHANNELS, PHONE, WIDEBAND
from harness.model.errors import ScenarioError

RATE = 48000
_PHONE_RATE = 8000
# A line by ITU-T G.712: flat within 1 dB from 300 to 3400 Hz, 14 dB down at 4 kHz, and without the mains' 50 Hz.
# Butterworth flanks that reach 3 dB here, with so many poles; without phase, so that nothing is delayed.
_LOW_HZ, _LOW_POLES = 245.0, 4
_HIGH_HZ, _HIGH_POLES = 3640.0, 20


@dataclass(frozen=True, slots=True)
class Channel:
    """A line: the telephone's band or not, and a codec or none."""

    is_phone: bool
    codec: Codec | None

    def carry(self, pcm: Pcm) -> Pcm:
        """Return 48 kHz `pcm` as it comes out at the agent's end: 48 kHz again, as long, nothing shifted."""
        if self.codec is None:
            return _of_length(_at(self.in_band(pcm), self.band_rate, RATE), len(pcm))
        coded = self.codec.through(self._offered(pcm, self.codec.rate))
        return _of_length(_at(coded, self.codec.rate, RATE), len(pcm))

    @property
    def band_rate(self) -> int:
        """The sample rate at which levels in the channel's band are measured; half of it is the band's upper end."""
        if self.is_phone:
            return _PHONE_RATE
        return self.codec.band_rate if self.codec else RATE

    def in_band(self, pcm: Pcm) -> Pcm:
        """48 kHz `pcm` at `band_rate`: what of it the channel lets through, uncoded."""
        return self._offered(pcm, self.band_rate)

    def _offered(self, pcm: Pcm, rate: int) -> Pcm:
        if not self.is_phone:
            return _at(pcm, RATE, rate)
        return _at(phone_band(_at(pcm, RATE, _PHONE_RATE), _PHONE_RATE), _PHONE_RATE, rate)


def channel_of(name: str) -> Channel:
    """Return the channel of a name of CHANNELS; ScenarioError names the legal ones."""
    if name not in CHANNELS:
        raise ScenarioError(f"channel {name!r}; legal: {', '.join(CHANNELS)}")
    if name == WIDEBAND:
        return Channel(is_phone=False, codec=None)
    codec = name.removeprefix(PHONE).removeprefix("-")
    return Channel(is_phone=name.startswith(PHONE), codec=CODECS[codec] if codec else None)


def _at(pcm: Pcm, from_rate: int, to_rate: int) -> Pcm:
    return pcm if from_rate == to_rate else resample(pcm, from_rate, to_rate)


def _of_length(pcm: Pcm, count: int) -> Pcm:
    """At a lower rate a clip may have been a few samples shorter or longer."""
    return np.pad(pcm[:count], (0, max(0, count - len(pcm))))


def phone_band(pcm: Pcm, rate: int) -> Pcm:
    """`pcm` through a telephone line's band of 300 to 3400 Hz, at its own rate."""
    # Padding, up to a length that factors well, keeps the end from leaking into the beginning.
    size = -(-(len(pcm) + rate // 5) // 4096) * 4096
    spectrum = np.fft.rfft(pcm, size) * _line_gain(np.fft.rfftfreq(size, 1 / rate).astype(np.float64))
    return np.clip(np.round(np.fft.irfft(spectrum, size)[: len(pcm)]), -32768, 32767).astype(np.int16)


def _line_gain(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = (hz / _LOW_HZ) ** (2 * _LOW_POLES), (hz / _HIGH_HZ) ** (2 * _HIGH_POLES)
    return np.asarray(np.sqrt(low / (1 + low) / (1 + high)), np.float64)
