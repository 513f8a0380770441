"""Clips as samples, and samples as clips: Ogg Opus through PyAV, exact to the sample both ways.

Opus frames are 20 ms and the encoder looks ahead, so a naive decode begins early and ends late. The Ogg stream says
how many samples to drop at each end; `read_pcm` insists that what is left is the length the manifest states.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from harness.corpus.entry import Utterance
from harness.model.errors import ScenarioError

Pcm = NDArray[np.int16]


def read_pcm(utterance: Utterance, rate: int = 48000) -> Pcm:
    """Decode the clip to int16 mono samples at `rate` Hz, shape (samples,).

    At the clip's own rate the length is exactly `duration_ms`; at another rate it is `duration_ms` rounded to a sample.
    Raises ScenarioError where the file does not decode or its length is not the manifest's.
    """
    path = utterance.file
    pcm = decode_file(path, utterance.sample_rate)
    if len(pcm) != utterance.samples:
        raise ScenarioError(
            f"{path}: decodes to {len(pcm)} samples at {utterance.sample_rate} Hz, the manifest says "
            f"{utterance.samples} ({utterance.duration_ms} ms)"
        )
    if rate == utterance.sample_rate:
        return pcm
    return resample(pcm, utterance.sample_rate, rate)


def decode_file(path: Path, rate: int) -> Pcm:
    """Decode any audio file PyAV reads to int16 mono at `rate` Hz (channels averaged). Raises ScenarioError."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ScenarioError(f"{path}: holds no audio stream")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            chunks = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
            chunks += resampler.resample(None)
    except (av.FFmpegError, OSError) as error:
        raise ScenarioError(f"{path}: cannot decode: {error}") from error
    parts = [chunk.to_ndarray().reshape(-1) for chunk in chunks]
    return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, np.int16)


def resample(pcm: Pcm, from_rate: int, to_rate: int) -> Pcm:
    """`pcm` at another rate; length is the same duration rounded to a sample, and nothing is shifted in time."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=to_rate)
    frames = [*resampler.resample(_frame(pcm, from_rate)), *resampler.resample(None)]
    # Of some milliseconds the resampler gives nothing back at all.
    parts = [np.zeros(0, np.int16), *(frame.to_ndarray().reshape(-1) for frame in frames)]
    out = np.concatenate(parts).astype(np.int16)
    wanted = round(len(pcm) * to_rate / from_rate)
    # The resampler may hold back or add a few samples of its filter's tail.
    return np.pad(out[:wanted], (0, max(0, wanted - len(out))))


def write_opus(path: Path, pcm: Pcm, bit_rate: int) -> None:
    """Write 48 kHz mono int16 as Ogg Opus that decodes to exactly len(pcm) samples; equal input, equal bytes."""
    rate = 48000
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        options = {"application": "audio", "frame_duration": "20", "vbr": "on"}
        stream = container.add_stream("libopus", rate=rate, options=options)
        stream.layout = "mono"
        stream.bit_rate = bit_rate
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        container.mux(stream.encode(_frame(pcm, rate)))
        container.mux(stream.encode(None))


def _frame(pcm: Pcm, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    frame.pts = 0
    frame.time_base = Fraction(1, rate)
    return frame
