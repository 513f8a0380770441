"""A recorded call: caller and agent as two channels of samples on one time line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from harness.media.call_log import COMMENT, CallLog
from harness.model.errors import ScenarioError

Pcm = npt.NDArray[np.int16]
SIDES = ("left", "right")
WIDE, NARROW = 16_000, 8_000
RATES = (8_000, 48_000)
SHORTEST_MS = 500
LONGEST_S = 4 * 3600
# Correlation over which two channels are one and the same.
_SAME = 0.98


@dataclass(frozen=True, slots=True)
class Recording:
    """Both sides of a call, int16 of equal length at `rate` Hz. `log`: what our own recorder noted, None elsewhere."""

    name: str
    caller: Pcm
    agent: Pcm
    rate: int
    log: CallLog | None = None

    @property
    def duration_ms(self) -> float:
        """Length of the file."""
        return len(self.caller) * 1000 / self.rate


def read_recording(files: list[Path], caller: str = "left") -> Recording:
    """Read one file of two channels, `caller` saying which is the caller's, or two of one: the caller's, the agent's.

    Everything PyAV decodes, 8 to 48 kHz; analysed at 16 kHz, or 8 kHz where the file has no more. Raises ScenarioError.
    """
    if caller not in SIDES:
        raise ScenarioError(f"--caller: got {caller!r}; legal: {', '.join(SIDES)}")
    if len(files) == 2:
        return _of_two(files)
    channels, rate, log = _decode(files[0])
    if len(channels) != 2:
        raise ScenarioError(
            f"{files[0]}: has {_count(len(channels))}; analyze needs caller and agent apart: a recording of two "
            "channels, or two files of one (callquake analyze CALLER.wav AGENT.wav)"
        )
    if _are_one(*channels):
        raise ScenarioError(
            f"{files[0]}: both channels carry the same sound, so nobody can tell who speaks; record caller and agent "
            "on channels of their own"
        )
    left, right = channels
    one, other = (left, right) if caller == "left" else (right, left)
    return _checked(Recording(files[0].name, one, other, rate, log if caller == "left" else None), files[0])


def _of_two(files: list[Path]) -> Recording:
    decoded = [_decode(file) for file in files]
    for file, (channels, _, _) in zip(files, decoded, strict=True):
        if len(channels) != 1:
            raise ScenarioError(f"{file}: has {_count(len(channels))}; of two files each must have one")
    rate = min(rate for _, rate, _ in decoded)
    sides = [(_decode(f, rate)[0] if has != rate else c)[0] for f, (c, has, _) in zip(files, decoded, strict=True)]
    length = max(len(side) for side in sides)
    padded = [np.pad(side, (0, length - len(side))) for side in sides]
    return _checked(Recording(f"{files[0].name} + {files[1].name}", padded[0], padded[1], rate), files[0])


def _checked(recording: Recording, file: Path) -> Recording:
    if recording.duration_ms < SHORTEST_MS:
        raise ScenarioError(f"{file}: holds {recording.duration_ms:.0f} ms of audio; legal: {SHORTEST_MS} ms or more")
    return recording


def _decode(file: Path, rate: int | None = None) -> tuple[list[Pcm], int, CallLog | None]:
    try:
        with av.open(str(file)) as container:
            if not container.streams.audio:
                raise ScenarioError(f"{file}: holds no audio stream")
            stream = container.streams.audio[0]
            if not RATES[0] <= stream.rate <= RATES[1]:
                raise ScenarioError(f"{file}: is at {stream.rate} Hz; legal: {RATES[0]} to {RATES[1]} Hz")
            wanted = rate or (WIDE if stream.rate >= WIDE else NARROW)
            comment = container.metadata.get(COMMENT)
            count = stream.channels
            layout = stream.layout.name if count > 2 else ("mono", "stereo")[count - 1]
            resampler = av.AudioResampler(format="s16p", layout=layout, rate=wanted)
            parts = list(_frames(file, container, resampler))
    except (av.FFmpegError, OSError) as error:
        raise ScenarioError(f"{file}: cannot read: {error.strerror or error}") from error
    samples = np.concatenate(parts, axis=1) if parts else np.zeros((count, 0), np.int16)
    return [np.ascontiguousarray(side) for side in samples], wanted, CallLog.from_comment(comment) if comment else None


def _frames(file: Path, container: "av.container.InputContainer", to: av.AudioResampler) -> Iterator[Pcm]:
    """Decode to the end, or to where a file that was cut off becomes unreadable."""
    seen = 0
    try:
        for frame in container.decode(audio=0):
            for out in to.resample(frame):
                seen += out.samples
                yield np.asarray(out.to_ndarray(), np.int16)
            if seen > LONGEST_S * WIDE:
                raise ScenarioError(f"{file}: is longer than {LONGEST_S // 3600} hours; cut it into calls")
    except av.InvalidDataError:
        # What came before it was a call all the same.
        if not seen:
            raise
    for out in to.resample(None):
        yield np.asarray(out.to_ndarray(), np.int16)


def _are_one(one: Pcm, other: Pcm) -> bool:
    x, y = one.astype(np.float64), other.astype(np.float64)
    both = float(np.sqrt(np.dot(x, x) * np.dot(y, y)))
    return both > 0 and abs(float(np.dot(x, y))) > _SAME * both


def _count(channels: int) -> str:
    return "one channel (mono)" if channels == 1 else f"{channels} channels"
