"""Both directions of a call as one stereo file: left the caller, right the agent, on the call's own time line.

The caller's side is laid down from what was sent, the agent's from what was decoded, each at its time on the wire; so
the distance between the two in the file is the distance that was measured.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from harness.media.opus import RATE, Clip, Pcm

FILE_RATE = 16_000
# A recording stops growing here: 10 minutes of agent audio at 48 kHz are 57 MB of memory.
MAX_SECONDS = 600
# Agent packets are laid back to back while their times agree to this; a larger gap is silence (DTX, loss).
_RESYNC_SAMPLES = RATE * 60 // 1000


class Recorder:
    """Collects in the media loop; `write` runs elsewhere, after the call."""

    def __init__(self, started_at_ns: int) -> None:
        self._started_at_ns = started_at_ns
        self._clips: list[tuple[int, Clip, int]] = []
        self._agent: list[tuple[int, Pcm]] = []
        self._agent_end = 0

    def _position(self, at_ns: int) -> int:
        return max(0, (at_ns - self._started_at_ns) * RATE // 1_000_000_000)

    def clip_started(self, clip: Clip, at_ns: int) -> None:
        """Take note that the first packet of `clip` left at `at_ns`."""
        self._clips.append((self._position(at_ns), clip, len(clip.samples)))

    def agent_audio(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Lay decoded agent audio down where it arrived."""
        position = self._position(arrived_at_ns)
        if abs(position - self._agent_end) < _RESYNC_SAMPLES:
            position = self._agent_end
        if position > MAX_SECONDS * RATE:
            return
        self._agent.append((position, samples))
        self._agent_end = position + len(samples)

    def write(self, path: Path) -> None:
        """Write a 16 kHz stereo FLAC file."""
        end = max([self._agent_end, *(start + length for start, _clip, length in self._clips)], default=0)
        stereo = np.zeros((2, min(end, MAX_SECONDS * RATE)), np.int16)
        for start, clip, length in self._clips:
            room = max(0, min(length, stereo.shape[1] - start))
            stereo[0, start : start + room] = clip.samples[:room]
        for start, samples in self._agent:
            room = max(0, min(len(samples), stereo.shape[1] - start))
            stereo[1, start : start + room] = samples[:room]
        _write_flac(path, stereo)


def _write_flac(path: Path, stereo: Pcm) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=FILE_RATE)
    with av.open(str(path), "w", format="flac") as container:
        out = container.add_stream("flac", rate=FILE_RATE)
        out.codec_context.layout = "stereo"
        out.codec_context.format = "s16"
        interleaved = np.ascontiguousarray(stereo.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate = RATE
        frame.pts = 0
        frame.time_base = Fraction(1, RATE)
        resampled = [*resampler.resample(frame), *resampler.resample(None)]
        for piece in resampled:
            container.mux(out.encode(piece))
        container.mux(out.encode(None))
