"""Both directions of a call as one stereo file: left the caller, right the agent, on the call's own time line.

The caller's side is laid down from what was sent, the agent's from what arrived: by RTP time, anchored at the
earliest arrival. So the distance between the two in the file is the distance that was measured, but for how late a
packet was after that, and for where in its packet a sound lies: the file's comment has both (call_log.py).
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from harness.media.call_log import COMMENT, CallLog, HeardPacket, SpokenClip
from harness.media.clips import Clip, Pcm
from harness.media.codecs import OPUS, PACKET_MS, Codec
from harness.media.payload_decoder import PayloadDecoder
from harness.protocols.rtp import timestamp_delta

FILE_RATE = 16_000
# A recording stops growing here: 10 minutes of agent audio at 48 kHz are 57 MB of memory.
MAX_SECONDS = 600


@dataclass(slots=True)
class _Run:
    """Agent packets whose RTP timestamps share one origin."""

    first_timestamp: int
    # Position of RTP offset 0 in the file: the earliest that any packet's arrival allows, so jitter does not smear it.
    origin: int
    codec: Codec
    last_offset: int = 0
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    # Where in the file the arrival of each of them lies.
    arrivals: list[int] = field(default_factory=list)


class Recorder:
    """Collects as the call goes on; `write` runs elsewhere, after it. Samples are at the codec's sample rate."""

    def __init__(self, started_at_ns: int, codec: Codec = OPUS) -> None:
        self._started_at_ns = started_at_ns
        self._codec = codec
        # Of the recording: another codec's samples are brought to it.
        self._rate = codec.sample_rate
        self._longest = MAX_SECONDS * codec.sample_rate
        self._clips: list[tuple[int, Clip, int]] = []
        self._runs: list[_Run] = []

    def _position(self, at_ns: int) -> int:
        return (at_ns - self._started_at_ns) * self._rate // 1_000_000_000

    def clip_started(self, clip: Clip, at_ns: int) -> None:
        """Take note that the first packet of `clip` left at `at_ns`."""
        length = len(clip.samples) * self._rate // clip.codec.sample_rate
        self._clips.append((max(0, self._position(at_ns)), clip, length))

    def change_codec(self, codec: Codec) -> None:
        """Take what comes from now on for this codec's."""
        self._codec = codec

    def agent_payload(self, payload: bytes, timestamp: int, arrived_at_ns: int) -> None:
        """Take one packet of the agent; `timestamp` is its RTP time, in the codec's clock. Decoded by `write`."""
        position = self._position(arrived_at_ns)
        if position > self._longest:
            return
        run = self._runs[-1] if self._runs else None
        offset = 0
        if run is not None:
            # G.722's RTP clock runs at half its sample rate.
            offset = timestamp_delta(timestamp, run.first_timestamp) * self._rate // self._codec.clock_rate
        if run is None or run.codec is not self._codec or abs(offset - run.last_offset) > self._longest:
            run, offset = _Run(timestamp, position, self._codec), 0
            self._runs.append(run)
        run.origin = min(run.origin, position - offset)
        run.last_offset = offset
        run.packets.append((offset, payload))
        run.arrivals.append(position)

    def _agent_pieces(self) -> list[tuple[int, Pcm, int]]:
        """Return (place, samples, place of its arrival) of every packet."""
        pieces: list[tuple[int, Pcm, int]] = []
        for run in self._runs:
            decoder = PayloadDecoder(run.codec)
            for (offset, payload), arrived in sorted(zip(run.packets, run.arrivals, strict=True)):
                if run.origin + offset >= 0:
                    samples = at_rate(decoder.decode(payload), run.codec.sample_rate, self._rate)
                    pieces.append((run.origin + offset, samples, arrived))
        return pieces

    def write(self, path: Path) -> None:
        """Write a 16 kHz stereo FLAC file."""
        pieces = self._agent_pieces()
        ends = [start + length for start, _clip, length in self._clips]
        end = max([*ends, *(position + len(samples) for position, samples, _ in pieces)], default=0)
        stereo = np.zeros((2, min(end, self._longest)), np.int16)
        for start, clip, length in self._clips:
            room = max(0, min(length, stereo.shape[1] - start))
            stereo[0, start : start + room] = at_rate(clip.samples, clip.codec.sample_rate, self._rate)[:room]
        for start, samples, _ in pieces:
            room = max(0, min(len(samples), stereo.shape[1] - start))
            stereo[1, start : start + room] = samples[:room]
        _write_flac(path, stereo, self._rate, self._log(pieces))

    def _log(self, pieces: list[tuple[int, Pcm, int]]) -> CallLog:
        ms = 1000 / self._rate
        clips = [
            SpokenClip(
                clip.utterance_id,
                start * ms,
                start * ms + clip.first_voiced_packet * PACKET_MS,
                start * ms + clip.last_voiced_packet * PACKET_MS,
            )
            for start, clip, _ in self._clips
        ]
        packets = [HeardPacket(at * ms, arrived * ms, len(samples) * ms) for at, samples, arrived in pieces]
        return CallLog(tuple(clips), tuple(packets))


def at_rate(samples: Pcm, rate: int, wanted: int) -> Pcm:
    """Return samples at another rate, drawn straight from one to the next: codecs seldom change within a call."""
    if rate == wanted or not len(samples):
        return samples
    at = np.arange(len(samples) * wanted // rate) * (rate / wanted)
    drawn: Pcm = np.interp(at, np.arange(len(samples)), samples).round().astype(np.int16)
    return drawn


def _write_flac(path: Path, stereo: Pcm, rate: int, log: CallLog) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=FILE_RATE)
    with av.open(str(path), "w", format="flac") as container:
        container.metadata[COMMENT] = log.to_comment()
        out = container.add_stream("flac", rate=FILE_RATE)
        out.codec_context.layout = "stereo"
        out.codec_context.format = "s16"
        interleaved = np.ascontiguousarray(stereo.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        resampled = [*resampler.resample(frame), *resampler.resample(None)]
        for piece in resampled:
            container.mux(out.encode(piece))
        container.mux(out.encode(None))
