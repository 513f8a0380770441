"""Clips as FLAC: what was recorded, sample for sample, in about half the bytes.

Imported speech has been through one codec already; a second lossy one would be heard by the agent's STT and counted
as the accent's fault. A clip is kept at the recording's own rate where that is legal.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from harness.corpus.audio import Pcm


def write_flac(path: Path, pcm: Pcm, rate: int) -> None:
    """Write mono int16 samples, shape (samples,), whole or not at all; equal samples give equal bytes. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    try:
        _encode(unfinished, pcm, rate)
    except av.FFmpegError as error:
        raise OSError(f"{unfinished}: cannot be written: {error.strerror}") from error
    unfinished.replace(path)


def _encode(path: Path, pcm: Pcm, rate: int) -> None:
    with av.open(str(path), "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=rate)
        stream.layout = "mono"
        stream.format = "s16"
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
