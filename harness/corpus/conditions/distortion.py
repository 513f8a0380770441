"""What a bad microphone or a bad place does to the whole signal: flat peaks, or hardly any level."""

import numpy as np
from numpy.typing import NDArray

from harness.corpus.conditions.specs import ClippedSpec, LowLevelSpec


def distort(
    spec: ClippedSpec | LowLevelSpec, mixed: NDArray[np.float64], speech_dbfs: float, activity_ratio: float
) -> NDArray[np.float64]:
    """`mixed` (speech and noise) distorted; `speech_dbfs` and `activity_ratio` are P.56 of its speech alone."""
    if isinstance(spec, LowLevelSpec):
        return np.asarray(mixed * 10 ** ((spec.active_dbfs - speech_dbfs) / 20))
    return _clipped(mixed, _limit(spec, mixed, activity_ratio))


def _limit(spec: ClippedSpec, mixed: NDArray[np.float64], activity_ratio: float) -> float:
    """Return the magnitude over which nothing gets."""
    loudness = np.abs(mixed)
    if spec.share is None:
        return float(np.max(loudness) * 10 ** (-(spec.over_db or 0) / 20))
    flat = spec.share * activity_ratio
    return float(np.quantile(loudness, 1 - flat))


def _clipped(mixed: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    clipped = np.clip(mixed, -limit, limit)
    energy = float(np.sum(clipped * clipped))
    # As loud as before: what is compared is the distortion, not a level.
    return np.asarray(clipped * np.sqrt(np.sum(mixed * mixed) / energy)) if energy else clipped
