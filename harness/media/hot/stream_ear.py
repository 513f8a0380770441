"""From a media stream's payload to "the agent is audible": the ear behind a carrier's playout buffer.

    what was heard of a message (PCMU, PCMA, L16) --> levels of 5 ms windows --> onset, stop (onset.py)

Each window is dated twice: to when its first sample was heard, which is the detector's time, and to the arrival of the
message that completed it. An onset is told by both. Python calls in with numbers alone, once for each message heard;
its bytes lie in `payload`. Times are monotonic ns; 0 = nothing happened.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.hot.ear import EAR
from harness.media.hot.g711 import ALAW_SQUARES, ULAW_SQUARES
from harness.media.hot.jit import compiled, make_table
from harness.media.hot.levels import LINEAR, forget_part, window_levels
from harness.media.hot.onset import (
    SILENCE_DBFS,
    WINDOW_MS,
    gate_dbfs,
    onset_packet,
    onset_pause,
    onset_poll,
    onset_start,
)
from harness.media.hot.tables import bundle

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_WINDOW_NS = WINDOW_MS * _NS_PER_MS
# A buffer that runs dry this soon behind a voiced window does so in the middle of speech, not behind a sentence.
MID_SPEECH_NS = 100 * _NS_PER_MS
# A shorter hole is the jitter of an agent that sends in real time, and cannot be heard.
UNDERRUN_NS = 20 * _NS_PER_MS
# At most this many bytes are heard at once.
MOST_BYTES = 4096
_MOST_WINDOWS = MOST_BYTES // (WINDOW_MS * 8) + 1
# How samples are written.
LAW_LINEAR, LAW_ULAW, LAW_ALAW = 0, 1, 2
# The detector remembers the first windows of what may become an onset; so many of their arrivals are kept.
_FIRST = 4

STREAM = np.dtype(
    [
        ("law", "i8"),
        ("sample_rate", "i8"),
        # By the place of a window in the detector's `first_at_ns`: its message's arrival.
        ("first_arrived_at_ns", "i8", (_FIRST,)),
        # A hole in the middle of speech, until more speech shows that it was one: its end and length.
        ("hole_end_ns", "i8"),
        ("hole_ns", "i8"),
        ("underruns", "i8"),
        ("underrun_ns", "i8"),
    ]
)
# Places in `told`, of the last call of stream_ear_hear: an onset as heard, its arrival, when it was sure; how many
# windows were audible speech.
HEARD_AT, ARRIVED_AT, DECIDED_AT, VOICED = 0, 1, 2, 3


@bundle
class StreamEars(NamedTuple):
    """The ears of many streams. `payload`, `pcm`, `levels` and `told` belong to the call under way."""

    ears: Any
    streams: Any
    payload: npt.NDArray[np.uint8]
    pcm: npt.NDArray[np.int16]
    levels: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    told: npt.NDArray[np.int64]


def make_stream_ears(count: int) -> StreamEars:
    """Return ears for `count` streams; `stream_ear_start` before the first use of each."""
    return StreamEars(
        make_table(EAR, count),
        make_table(STREAM, count),
        np.zeros(MOST_BYTES, np.uint8),
        np.zeros(MOST_BYTES // 2, np.int16),
        np.zeros(_MOST_WINDOWS),
        np.zeros(1),
        np.zeros(4, np.int64),
    )


def compile_stream_ears() -> None:
    """Compile what follows now, if it is not on disk yet; takes some seconds, once a machine."""
    media = make_stream_ears(1)
    stream_ear_start(media, 0, LAW_ULAW, 8000, _NS_PER_S)
    stream_ear_hole(media, 0, _NS_PER_S, _NS_PER_S)
    stream_ear_hear(media, 0, 0, _NS_PER_S, _NS_PER_S)
    stream_ear_flush(media, 0)
    stream_ear_poll(media, 0, _NS_PER_S)


@compiled
def stream_ear_start(media: Any, index: int, law: int, sample_rate: int, quiet_ns: int) -> None:
    """Begin a call; `sample_rate` is 8000 or 16000, `law` one of LAW_*."""
    ear = media.ears[index]
    stream = media.streams[index]
    onset_start(ear, quiet_ns)
    forget_part(ear)
    stream.law = law
    stream.sample_rate = sample_rate
    stream.hole_end_ns = 0
    stream.hole_ns = 0
    stream.underruns = 0
    stream.underrun_ns = 0


@compiled
def stream_ear_flush(media: Any, index: int) -> None:
    """Take note that the buffer was cleared: what comes next does not follow on what was heard."""
    forget_part(media.ears[index])


@compiled
def stream_ear_hole(media: Any, index: int, end_ns: int, length_ns: int) -> None:
    """Take note that the buffer had run dry for `length_ns` until `end_ns`."""
    ear = media.ears[index]
    stream = media.streams[index]
    forget_part(ear)
    voiced_ago_ns = end_ns - length_ns - ear.last_voiced_at_ns
    is_mid_speech = ear.is_speaking != 0 and voiced_ago_ns <= MID_SPEECH_NS
    if is_mid_speech and UNDERRUN_NS <= length_ns < ear.quiet_ns:
        stream.hole_end_ns = end_ns
        stream.hole_ns = length_ns
    onset_pause(ear, length_ns // _NS_PER_MS, SILENCE_DBFS)


@compiled
def stream_ear_hear(media: Any, index: int, size: int, from_ns: int, arrived_at_ns: int) -> int:
    """Take the first `size` bytes of `payload`, heard from `from_ns` on, of a message that came at `arrived_at_ns`.

    Return until when the agent is speaking unless more speech comes, 0 = it is not; negative: by an onset that this
    makes sure of, which is in `told`.
    """
    ear = media.ears[index]
    stream = media.streams[index]
    told = media.told
    told[HEARD_AT] = 0
    told[VOICED] = 0
    rate = stream.sample_rate
    window_samples = rate * WINDOW_MS // 1000
    # Of a window that the last message began.
    begun = ear.part_samples
    windows = _levels(ear, stream.law, rate // 1000, media, size)
    for i in range(windows):
        heard_at_ns = from_ns + (i * window_samples - begun) * _NS_PER_S // rate
        _hear_window(ear, stream, media, media.levels[i], heard_at_ns, arrived_at_ns)
    if not ear.is_speaking:
        return 0
    until_ns = int(ear.last_voiced_at_ns + ear.quiet_ns)
    return -until_ns if told[HEARD_AT] != 0 else until_ns


@compiled
def stream_ear_poll(media: Any, index: int, now_ns: int) -> int:
    """Return when the agent stopped once it has been quiet for long enough, 0 = not (again)."""
    return int(onset_poll(media.ears[index], now_ns))


@compiled
def _levels(ear: Any, law: int, samples_per_ms: int, media: Any, size: int) -> int:
    """Write the level of each window that the payload completes; return how many."""
    payload, levels = media.payload, media.levels
    if law == LAW_ULAW:
        return int(window_levels(ear, payload, 0, size, samples_per_ms, ULAW_SQUARES, levels))
    if law == LAW_ALAW:
        return int(window_levels(ear, payload, 0, size, samples_per_ms, ALAW_SQUARES, levels))
    pcm = media.pcm
    for i in range(size // 2):
        value = int(payload[2 * i]) + 256 * int(payload[2 * i + 1])
        pcm[i] = value - 65536 if value >= 32768 else value
    return int(window_levels(ear, pcm, 0, size // 2, samples_per_ms, LINEAR, levels))


@compiled
def _hear_window(ear: Any, stream: Any, media: Any, level: float, heard_at_ns: int, arrived_at_ns: int) -> None:
    told = media.told
    media.level[0] = level
    onset_at_ns = onset_packet(ear, media.level, 1, heard_at_ns, heard_at_ns, SILENCE_DBFS)
    place = ear.candidate - 1
    if 0 <= place < _FIRST and ear.first_at_ns[place] == heard_at_ns:
        stream.first_arrived_at_ns[place] = arrived_at_ns
    if onset_at_ns != 0:
        told[HEARD_AT] = onset_at_ns
        told[DECIDED_AT] = ear.decided_at_ns
        told[ARRIVED_AT] = arrived_at_ns
        for i in range(_FIRST):
            if ear.first_at_ns[i] == onset_at_ns:
                told[ARRIVED_AT] = stream.first_arrived_at_ns[i]
    if ear.is_speaking and level > gate_dbfs(ear):
        told[VOICED] += 1
    if stream.hole_end_ns != 0 and ear.last_voiced_at_ns >= stream.hole_end_ns:
        stream.underruns += 1
        stream.underrun_ns += stream.hole_ns
        stream.hole_end_ns = 0
