"""Voice activity by level: what is louder than the quietest of the last seconds is speech. No model; a few µs a chunk.

The floor is the minimum over a window longer than a stretch of fluent speech without a pause (R. Martin, "Noise power
spectral density estimation based on optimal smoothing and minimum statistics", IEEE Trans. SAP 9(5), 2001), so steady
noise is learnt within that window and speech is not. It hears any sound as speech; a model is better in babble.
"""

import math
from collections import deque

import numpy as np

from target_stack.frames import Pcm
from target_stack.stages.vad import CHUNK_MS

WINDOW_MS = 3000.0
# Below it nothing is speech, and the floor is no lower: -60 dBFS RMS.
FLOOR_DB = -60.0
# Over the floor, where speech is as likely as not; and how fast that changes with the level.
MARGIN_DB = 8.0
SLOPE_DB = 1.5


class LevelVad:
    """`VoiceActivity` without a model; one instance a call."""

    description = "a level detector over a tracked noise floor, no model"

    def __init__(self) -> None:
        self._levels: deque[float] = deque([FLOOR_DB], maxlen=round(WINDOW_MS / CHUNK_MS))

    def probability(self, chunk: Pcm) -> float:
        """Return 0-1 for the chunk, by how far it is above the floor."""
        wide = chunk.astype(np.float32)
        power = float(np.dot(wide, wide)) / (len(wide) * 32768.0**2)
        level = max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB
        self._levels.append(level)
        above = (level - min(self._levels) - MARGIN_DB) / SLOPE_DB
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, above))))
