"""Test bench: what a speech model says of a recording, as a bound on gross errors."""

import numpy as np

CHUNK_MS = 32


def silero_edges(pcm, vad):
    """First and last 32 ms chunk that Silero calls speech, in ms, or None. `pcm` is 16 kHz int16."""
    vad.reset()
    size = vad.chunk_samples()
    spoken = np.flatnonzero([vad(pcm[at : at + size].tobytes()) > 0.5 for at in range(0, len(pcm) - size + 1, size)])
    return (spoken[0] * CHUNK_MS, spoken[-1] * CHUNK_MS + CHUNK_MS) if len(spoken) else None
