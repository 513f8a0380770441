"""A condition applied: room on the speech, noise beside it, then distortion, then the line.

The SNR is that of the channel's band: ITU-T P.56 active level of the speech as the microphone gets it, over the RMS of
the noise across the whole clip, both as the channel lets them through (wideband: everything up to 24 kHz). So what is
named is what the agent gets: a phone line takes most of a car's rumble out, and a car at 5 dB on a phone is a loud car.
"""

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm
from harness.corpus.conditions.channels import Channel, channel_of
from harness.corpus.conditions.distortion import distort
from harness.corpus.conditions.names import NO_DISTORTION, NO_ROOM
from harness.corpus.conditions.rooms import in_room, reverberant_samples
from harness.corpus.conditions.specs import BUILT_IN, ConditionLibrary, ConditionSpec
from harness.corpus.conditions.speech_level import quick_speech_level
from harness.corpus.levels import SILENCE_DBFS, active_speech_level, rms_dbfs
from harness.model.errors import ScenarioError

_FULL_SCALE = 32767


def apply(condition: ConditionSpec, clean: Pcm, bed: Pcm | None = None, library: ConditionLibrary = BUILT_IN) -> Pcm:
    """Return `clean` (48 kHz int16 mono) under the condition: `output_samples` long, its speech where it was.

    `bed` is the stretch of noise that it gets, as long as the output; None leaves the noise out even where the
    condition names one, which is how the speech alone is measured. Nothing here is random. Raises ScenarioError.
    """
    try:
        library.check(condition)
    except ValueError as error:
        raise ScenarioError(f"{condition.name}: {error}") from error
    channel = channel_of(condition.channel)
    speech = _heard(condition, clean, library)
    mixed = speech.astype(np.float64)
    if bed is not None:
        mixed += _noise(condition, channel, speech, bed)
    if condition.distortion != NO_DISTORTION:
        level = quick_speech_level(speech)
        mixed = distort(library.distortion(condition.distortion), mixed, level.active_dbfs, level.activity_ratio)
    return channel.carry(_fitting(condition, mixed))


def output_samples(condition: ConditionSpec, samples: int, library: ConditionLibrary = BUILT_IN) -> int:
    """How long a clean clip of `samples` at 48 kHz gets: a room rings on, and all else keeps the length."""
    return samples if condition.room == NO_ROOM else reverberant_samples(library.room(condition.room), samples)


def snr_db(channel: Channel, speech: Pcm, noise: Pcm) -> float:
    """P.56 level of 48 kHz `speech` over the RMS of `noise`, both in the channel's band."""
    rate = channel.band_rate
    level = active_speech_level(channel.in_band(speech), rate).active_dbfs
    return level - rms_dbfs(channel.in_band(noise))


def _heard(condition: ConditionSpec, clean: Pcm, library: ConditionLibrary) -> Pcm:
    """Speech at the microphone, alone."""
    if condition.room == NO_ROOM:
        return clean
    return _fitting(condition, in_room(library.room(condition.room), clean))


def _noise(condition: ConditionSpec, channel: Channel, speech: Pcm, bed: Pcm) -> NDArray[np.float64]:
    """Return the noise at the condition's SNR under the speech, int16 units."""
    if condition.snr_db is None:
        raise ScenarioError(f"{condition.name}: a bed for a condition without noise")
    if len(bed) != len(speech):
        raise ScenarioError(f"{condition.name}: a bed of {len(bed)} samples; legal: {len(speech)}, as long as the clip")
    if rms_dbfs(channel.in_band(bed)) <= SILENCE_DBFS:
        raise ScenarioError(f"{condition.name}: the bed is silent here, in the band of {condition.channel}")
    gain_db = snr_db(channel, speech, bed) - condition.snr_db
    return bed.astype(np.float64) * 10 ** (gain_db / 20)


def _fitting(condition: ConditionSpec, mixed: NDArray[np.float64]) -> Pcm:
    """Return int16 samples; ScenarioError where they would not fit."""
    if float(np.max(np.abs(mixed), initial=0)) >= _FULL_SCALE:
        raise ScenarioError(f"{condition.name}: clips at full scale; lower speech.level_dbfs or raise snr_db")
    return np.round(mixed).astype(np.int16)
