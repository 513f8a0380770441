"""A room full of people: several talkers at equal level, each in a loop of its own."""

from collections.abc import Sequence

import numpy as np

from harness.corpus.audio import Pcm
from harness.corpus.conditions.noises.shaping import Samples, unit_rms
from harness.corpus.conditions.speech_level import quick_speech_level
from harness.corpus.levels import as_float


def babble(count: int, rng: np.random.Generator, voices: Sequence[Pcm]) -> Samples:
    """All `voices` at the same ITU-T P.56 level, each looped from a place of its own, mixed."""
    bed = np.zeros(count)
    for voice in voices:
        talker = as_float(voice) * 10 ** (-quick_speech_level(voice).active_dbfs / 20)
        bed += np.resize(np.roll(talker, -int(rng.integers(len(talker)))), count)
    return unit_rms(bed)
