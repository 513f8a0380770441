"""A recording of the user's own as noise."""

from pathlib import Path

import numpy as np

from harness.corpus.audio import decode_file
from harness.corpus.conditions.noises.shaping import RATE, Samples
from harness.corpus.levels import as_float, rms_dbfs
from harness.model.errors import ScenarioError

_SILENT_DBFS = -80.0
_LEAST_S = 1.0
_JOIN_S = 0.05


def recorded(count: int, path: Path) -> Samples:
    """Return the file's sound, mono at 48 kHz, repeated as often as `count` samples need.

    Raises ScenarioError where it cannot be read, is shorter than a second, or is silent.
    """
    pcm = decode_file(path, RATE)
    if len(pcm) < _LEAST_S * RATE:
        raise ScenarioError(f"{path}: {len(pcm) / RATE:.2f} s long; legal: noise of {_LEAST_S:g} s or more")
    if rms_dbfs(pcm) < _SILENT_DBFS:
        raise ScenarioError(f"{path}: silent ({rms_dbfs(pcm):.0f} dBFS); legal: noise above {_SILENT_DBFS:g} dBFS")
    sound = as_float(pcm)
    if len(sound) < count:
        sound = joined(sound, len(sound) - round(_JOIN_S * RATE))
    return np.resize(sound, count)


def joined(x: Samples, count: int) -> Samples:
    """Return the first `count` of `x`, its beginning faded over from what followed, so that it can be repeated."""
    over = len(x) - count
    share = np.sin(np.pi / 2 * (np.arange(over) + 0.5) / over)
    out = x[:count].copy()
    # Equal power: what meets is not alike.
    out[:over] = out[:over] * share + x[count:] * share[::-1]
    return out
