"""Recordings of any origin as samples, or a reason why not. Nothing a file says of itself is believed unmeasured.

Containers are named to FFmpeg one by one: a playlist that calls itself audio could make it open other files, or the
network, and its guesses at headerless bytes are noise.
"""

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from harness.corpus.entry import SAMPLE_RATES
from harness.corpus.importing.items import UnusableError
from harness.corpus.importing.places import RAW_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTAINERS = "wav,w64,flac,ogg,mp3,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aiff,au,caf,amr,asf,aac,nistsphere,gsm,wv,voc"
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
LEAST_RATE = 8000
_HIGHEST_RATE = 384_000
# By how much a recording may be shorter than its header says, in seconds: codecs count their delay in, and the length
# of an MP3 without an index is a guess.
_SLACK_S = {"flac": 0.01, "aiff": 0.01, "wav": 0.01, "mp3": 0.5, "aac": 1.0}
_OTHER_SLACK_S = 0.15
# Sizes that mean "not known when this was written", as pipes write them.
_UNKNOWN_SIZE = 0x7FFF0000


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded recording."""

    # int16, shape (channels, samples).
    samples: NDArray[np.int16]
    # One of SAMPLE_RATES: the recording's own, or the next one above it.
    rate: int
    source_rate: int
    codec: str
    # What is odd about it, though it decodes.
    doubts: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length."""
        return int(self.samples.shape[1]) / self.rate


def read_recording(path: Path, longest_s: float) -> Recording:
    """Decode the whole of `path`. Raises UnusableError: no file, empty, unreadable, truncated, too long, wrong rate."""
    check_file(path)
    try:
        with _opened(path) as container:
            if not container.streams.audio:
                raise UnusableError("no audio", f"a {container.format.name} file without an audio stream")
            stream = container.streams.audio[0]
            rate = _legal_rate(stream.rate)
            parts, seconds = _decode(container, stream, rate, longest_s)
            stated = None if stream.duration is None or stream.time_base is None else stream.duration * stream.time_base
            name, codec, source_rate = container.format.name, stream.codec.name, stream.rate
    except (av.FFmpegError, OSError, ValueError, EOFError, MemoryError) as error:
        raise UnusableError("unreadable", _plain(error)) from error
    if not parts:
        raise UnusableError("zero length", "it decodes to no sample")
    slack_s = _SLACK_S.get(name, _OTHER_SLACK_S)
    if stated is not None and float(stated) - seconds > max(slack_s, 0.02 * float(stated) if slack_s >= 0.5 else 0):
        raise UnusableError("truncated", f"its header says {float(stated):.2f} s, {seconds:.2f} s can be decoded")
    doubts = _cut_doubts(path, name)
    return Recording(np.concatenate(parts, axis=1), rate, source_rate, codec, doubts)


def channels_of(path: Path) -> int:
    """How many channels `path` has; 0 where it cannot be read."""
    try:
        check_file(path)
        with _opened(path) as container:
            return container.streams.audio[0].channels if container.streams.audio else 0
    except (UnusableError, av.FFmpegError, OSError, ValueError):
        return 0


@contextmanager
def _opened(path: Path) -> "Iterator[av.container.InputContainer]":
    """Open the container; by its bytes where its name is none that FFmpeg takes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file, av.open(file, "r", options=_OPTIONS) as container:
            yield container
    else:
        with av.open(str(path), "r", options=_OPTIONS) as container:
            yield container


def check_file(path: Path) -> None:
    """Raise UnusableError where `path` is not there, is no file, is empty, may not be read or is cut short."""
    try:
        found = path.stat()
    except OSError as error:
        raise UnusableError(
            "file missing" if isinstance(error, FileNotFoundError) else "cannot be read", _plain(error)
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise UnusableError("no file", "a folder, device or pipe named like a recording")
    if not found.st_size:
        raise UnusableError("zero length", "0 bytes")
    if not os.access(path, os.R_OK):
        raise UnusableError("cannot be read", "Permission denied")
    if path.suffix.lower() in RAW_ENDINGS:
        raise UnusableError("raw samples", "no header says their rate; convert it, e.g. to WAV")
    if path.suffix.lower() in (".wav", ".wave"):
        _check_wav(path, found.st_size)


def _check_wav(path: Path, size: int) -> None:
    """FFmpeg plays a WAV as far as it goes; whether that is all of it only its header can say."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"RIFF":
                return
            file.seek(12)
            while len(head := file.read(8)) == 8:
                length = int.from_bytes(head[4:], "little")
                here = file.tell()
                if head[:4] == b"data":
                    if length == 0 and size - here < 2:
                        raise UnusableError("zero length", "its data chunk is empty")
                    if size - here < length < _UNKNOWN_SIZE:
                        raise UnusableError(
                            "truncated", f"its header says {length} bytes of audio, {size - here} are there"
                        )
                    return
                file.seek(here + length + length % 2)
    except OSError as error:
        raise UnusableError("cannot be read", _plain(error)) from error


def _decode(
    container: "av.container.InputContainer", stream: "av.AudioStream", rate: int, longest_s: float
) -> tuple[list[NDArray[np.int16]], float]:
    """Return the samples by frame, and the seconds of them at the source's own rate."""
    resampler = av.AudioResampler(format="s16p", rate=rate)
    parts: list[NDArray[np.int16]] = []
    count = 0
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise UnusableError("unreadable", f"damaged at {count / stream.rate:.2f} s")
        count += frame.samples
        if count > longest_s * stream.rate:
            raise UnusableError("too long", f"over {longest_s:g} s; --longest-s takes more")
        # Where a frame lies is said by its order; timestamps of broken files are not to be believed.
        frame.pts = None
        parts += [_samples(out) for out in resampler.resample(frame)]
    if count:
        parts += [_samples(out) for out in resampler.resample(None)]
    return parts, count / stream.rate


def _samples(frame: av.AudioFrame) -> NDArray[np.int16]:
    return frame.to_ndarray().astype(np.int16, copy=False)


def _legal_rate(rate: int) -> int:
    if rate <= 0:
        raise UnusableError("unreadable", f"its header says {rate} Hz")
    if rate < LEAST_RATE:
        raise UnusableError("sampling rate too low", f"{rate} Hz; at least {LEAST_RATE}")
    if rate > _HIGHEST_RATE:
        raise UnusableError("sampling rate too high", f"{rate} Hz; a header of nonsense")
    return next((legal for legal in SAMPLE_RATES if legal >= rate), SAMPLE_RATES[-1])


def _cut_doubts(path: Path, container: str) -> tuple[str, ...]:
    """Doubt an Ogg stream whose last page does not say that it is the last: its writer was stopped, or the file cut."""
    if container != "ogg":
        return ()
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 66_000))
        tail = file.read()
    last = tail.rfind(b"OggS")
    is_ended = last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & 4)
    return () if is_ended else ("its stream has no end: cut short?",)


def _plain(error: BaseException) -> str:
    """Return an error's text without errno and path, which the line names already."""
    if isinstance(error, av.InvalidDataError):
        return "not in an audio format that is read here, or damaged"
    if isinstance(error, av.EOFError):
        return "it ends where its audio should begin"
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__
