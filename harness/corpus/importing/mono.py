"""Of several channels, the one that a caller is heard on."""

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm
from harness.corpus.importing.items import UnusableError
from harness.corpus.importing.options import LEFT, RIGHT
from harness.corpus.levels import rms_dbfs

# A channel this much quieter than the other holds nothing of its own.
_EMPTY_BELOW_DB = 30.0
_LEAST_CORRELATION = 0.5
_MOST_LOST_DB = 10.0


def as_mono(samples: NDArray[np.int16], channel: str | None) -> tuple[Pcm, list[str]]:
    """Return one channel of `samples`, shape (channels, samples), and what is doubtful about it.

    `channel` names left or right; where it is None, the channels' mean, but the louder one alone where the other is
    empty or cancels it.
    """
    if channel is not None:
        if len(samples) != 2:
            raise UnusableError("not two channels", f"it has {len(samples)}; {channel} was asked for")
        return samples[{LEFT: 0, RIGHT: 1}[channel]], []
    if len(samples) == 1:
        return samples[0], []
    levels = [rms_dbfs(one) for one in samples]
    loudest = samples[int(np.argmax(levels))]
    if sorted(levels)[-2] < max(levels) - _EMPTY_BELOW_DB:
        return loudest, []
    mean = np.round(samples.astype(np.float64).mean(axis=0)).astype(np.int16)
    if rms_dbfs(mean) < max(levels) - _MOST_LOST_DB:
        return loudest, ["its channels cancel each other: the louder one is taken"]
    if len(samples) == 2 and _correlation(samples) < _LEAST_CORRELATION:
        return mean, ["its two channels differ, and were mixed: a call? --format dual-channel, --caller-channel"]
    return mean, []


def _correlation(samples: NDArray[np.int16]) -> float:
    left, right = samples.astype(np.float64)
    power = float(np.sqrt(np.sum(left * left) * np.sum(right * right)))
    return float(np.sum(left * right)) / power if power else 1.0
