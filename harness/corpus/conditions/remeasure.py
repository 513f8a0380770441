"""The SNR of a finished clip, found again from its clean clip and the noise bed it was made with.

A coded clip's SNR cannot be read from its difference to the clean clip: the codec's own error may be as loud as the
noise. So the clip is explained, by least squares, as so much of the clean clip and so much of the bed, both as the
channel lets them through; the codec's error belongs to neither. In a room the dry clip explains but a part of the
speech: there the noise found is taken out, and what is left is the speech (with the codec's error, so a little louder).
"""

from dataclasses import dataclass

import numpy as np

from harness.corpus.audio import Pcm, resample
from harness.corpus.conditions.channels import channel_of
from harness.corpus.conditions.names import CODECS, NO_DISTORTION, NO_ROOM, PHONE
from harness.corpus.conditions.specs import BUILT_IN_DISTORTIONS, LowLevelSpec
from harness.corpus.levels import active_speech_level, rms_dbfs

RATE = 48000
# The Opus in which clips ship takes a part of the noise away: at 32 kbit/s up to 1.3 dB of a steady one at an SNR of
# 15 dB, at 56 kbit/s up to 0.2 dB (measured over seven noises). In a room the measurement itself is 1.5 dB off there.
_TOLERANCE_DB = 1.5
_ROOM_TOLERANCE_DB = 2.0
# They model speech: what is left of the noise is no multiple of it (GSM is off by 1 to 3 dB, the others by up to 10).
_VOCODERS = frozenset(name for name in CODECS if name.startswith(("gsm", "amr", "opus")))
# A distortion that only a recipe defines may be anything; these move speech and noise alike.
_LEVEL_ONLY = frozenset(
    {NO_DISTORTION} | {name for name, spec in BUILT_IN_DISTORTIONS.items() if isinstance(spec, LowLevelSpec)}
)


@dataclass(frozen=True, slots=True)
class MeasuredSnr:
    """An SNR, and how far from the truth such a measurement can lie."""

    snr_db: float
    tolerance_db: float


def can_measure(distortion: str, channel: str) -> bool:
    """Whether a clip of such a condition still shows its SNR: after a vocoder, or clipped, it does not."""
    codec = channel.removeprefix(PHONE).removeprefix("-")
    return codec not in _VOCODERS and distortion in _LEVEL_ONLY


def measure_snr(
    mixed: Pcm, clean: Pcm, noise: Pcm, *, room: str = NO_ROOM, distortion: str = NO_DISTORTION, channel: str
) -> MeasuredSnr | None:
    """SNR in the channel's band of `mixed`, from its clean clip and its stretch of the bed; all int16 at 48 kHz.

    `noise` is as long as `mixed`, `clean` may be shorter (a room rings on). None where `can_measure` says no.
    """
    if not can_measure(distortion, channel):
        return None
    line = channel_of(channel)
    rate = line.band_rate
    # The clip has been through the line; a second time would take more of its band's edges.
    heard = mixed if rate == RATE else resample(mixed, RATE, rate)
    bed = line.in_band(noise)
    speech = line.in_band(np.pad(clean, (0, len(mixed) - len(clean))))
    speech_gain, noise_gain = _explained(heard, speech, bed)
    if room != NO_ROOM:
        level = active_speech_level((heard - noise_gain * bed) / 32768, rate).active_dbfs
    else:
        level = active_speech_level(speech, rate).active_dbfs + _db(speech_gain)
    tolerance_db = _TOLERANCE_DB if room == NO_ROOM else _ROOM_TOLERANCE_DB
    return MeasuredSnr(float(level - rms_dbfs(bed) - _db(noise_gain)), tolerance_db)


def _explained(heard: Pcm, speech: Pcm, noise: Pcm) -> tuple[float, float]:
    """Gains of speech and noise whose sum comes closest to what is heard."""
    parts = np.stack([speech, noise]).astype(np.float64)
    gains = np.linalg.lstsq(parts @ parts.T, parts @ heard.astype(np.float64), rcond=None)[0]
    return float(gains[0]), float(gains[1])


def _db(gain: float) -> float:
    return 20 * float(np.log10(max(gain, 1e-6)))
