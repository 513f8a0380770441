"""Both directions of a call as one stereo file: left the caller, right the agent, on the call's own time line.

The caller's side is laid down as it was sent, with its encoder's delay, the agent's as it arrived: by RTP time, each
talkspurt from its arrival (talkspurts.py). So the distance between the two in the file is the distance that was
measured, but for where in its packet a sound lies. When each packet came, and what the call's ear told of them, is in
the file's comment (call_log.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from harness.media.call_log import COMMENT, CallLog, HeardPacket, SpokenClip
from harness.media.clips import Clip, Pcm
from harness.media.codecs import OPUS, PACKET_MS, Codec
from harness.media.events import MediaEvent, SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.payload_decoder import PayloadDecoder
from harness.media.talkspurts import Talkspurt, placed
from harness.model.clock import ms_between
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


@dataclass(frozen=True, slots=True)
class Sides:
    """A recording as it was written: mono int16 each, of one length, at `rate` Hz."""

    caller: Pcm
    agent: Pcm
    rate: int
    log: CallLog


class Recorder:
    """Collects as the call goes on; `write` runs elsewhere, after it. Samples are at the codec's sample rate."""

    def __init__(self, started_at_ns: int, codec: Codec = OPUS) -> None:
        self.started_at_ns = started_at_ns
        self._codec = codec
        # Of the recording: another codec's samples are brought to it.
        self._rate = codec.sample_rate
        self._longest = MAX_SECONDS * codec.sample_rate
        self._clips: list[tuple[int, Clip]] = []
        # Where the caller was made to fall silent, or left: what was being spoken there went no further.
        self._cuts: list[int] = []
        # What left while the caller was silent, packet by packet; decoded, it would be many times as large.
        self._echoes: list[tuple[int, bytes, Codec]] = []
        self._runs: list[_Run] = []
        # What the call was told: edges of the caller's speech, by utterance; the agent's onsets and last packets.
        self._edges: list[SpeechStarted | SpeechEnded] = []
        self._heard: list[AgentOnset | AgentStopped] = []

    def _position(self, at_ns: int) -> int:
        return (at_ns - self.started_at_ns) * self._rate // 1_000_000_000

    def clip_started(self, clip: Clip, at_ns: int) -> None:
        """Take note that the first packet of `clip` left at `at_ns`."""
        self._clips.append((max(0, self._position(at_ns)), clip))

    def cut(self, at_ns: int) -> None:
        """Take note that nothing of a clip leaves from about `at_ns` on, until another one begins."""
        self._cuts.append(max(0, self._position(at_ns)))

    def echoed(self, payload: bytes, codec: Codec, at_ns: int) -> None:
        """Take note of one packet that left about at `at_ns` and is no clip's. Decoded by `write`."""
        position = max(0, self._position(at_ns))
        if position <= self._longest:
            self._echoes.append((position, payload, codec))

    def told(self, event: MediaEvent) -> None:
        """Take note of an event of the call: its figures go by what it was told, so the recording's may, too."""
        if isinstance(event, SpeechStarted | SpeechEnded):
            self._edges.append(event)
        elif isinstance(event, AgentOnset | AgentStopped):
            self._heard.append(event)

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
        at, arrivals = (np.array([piece[i] for piece in pieces], np.int64) for i in (0, 2))
        moved = placed(at, arrivals, self._spurts(), self._rate).tolist()
        return [(place, samples, arrival) for place, (_, samples, arrival) in zip(moved, pieces, strict=True)]

    def _spurts(self) -> list[Talkspurt]:
        spurts: list[Talkspurt] = []
        for event in self._heard:
            position = self._position(event.at_ns)
            if isinstance(event, AgentOnset):
                spurts.append(Talkspurt(position, None))
            elif spurts and spurts[-1].last is None:
                spurts[-1] = Talkspurt(spurts[-1].onset, position)
        return spurts

    def write(self, path: Path) -> Sides:
        """Write a 16 kHz stereo FLAC file; return what is in it."""
        pieces = self._agent_pieces()
        spoken = [*self._spoken(), *self._echoed()]
        ends = [start + len(samples) for start, samples in spoken]
        end = max([*ends, *(position + len(samples) for position, samples, _ in pieces)], default=0)
        stereo = np.zeros((2, min(end, self._longest)), np.int16)
        for side, laid in ((0, spoken), (1, [(place, samples) for place, samples, _ in pieces])):
            for start, samples in laid:
                room = max(0, min(len(samples), stereo.shape[1] - start))
                stereo[side, start : start + room] = samples[:room]
        log = self._log(pieces)
        _write_flac(path, stereo, self._rate, log)
        return Sides(stereo[0], stereo[1], self._rate, log)

    def _spoken(self) -> Iterator[tuple[int, Pcm]]:
        """Yield where each clip lies, as far as it left: as its packets have it, which is later than in the clip."""
        for index, (start, clip) in enumerate(self._clips):
            delay = clip.codec.delay * self._rate // clip.codec.sample_rate
            samples = at_rate(clip.read_samples(), clip.codec.sample_rate, self._rate)
            begins_next = [other for other, _ in self._clips[index + 1 : index + 2]]
            # What the codec still held back then had not left.
            left = (at - start - delay for at in [*self._cuts, *begins_next] if at > start)
            yield start + delay, samples[: max(0, min(left, default=len(samples)))]

    def _echoed(self) -> Iterator[tuple[int, Pcm]]:
        """Yield where each packet that is no clip's lies, and its samples."""
        decoders: dict[Codec, PayloadDecoder] = {}
        for position, payload, codec in self._echoes:
            if codec not in decoders:
                decoders[codec] = PayloadDecoder(codec)
            yield position, at_rate(decoders[codec].decode(payload), codec.sample_rate, self._rate)

    def _log(self, pieces: Sequence[tuple[int, Pcm, int]]) -> CallLog:
        ms = 1000 / self._rate
        packets = [HeardPacket(at * ms, arrived * ms, len(samples) * ms) for at, samples, arrived in pieces]
        onsets, stops = (
            tuple(ms_between(self.started_at_ns, event.at_ns) for event in self._heard if isinstance(event, kind))
            for kind in (AgentOnset, AgentStopped)
        )
        return CallLog(tuple(self._log_clips()), tuple(packets), onsets, stops)

    def _log_clips(self) -> list[SpokenClip]:
        """Return the clips whose speech was said to its end, with its edges as the call was told them."""
        clips: list[SpokenClip] = []
        for index, (start, clip) in enumerate(self._clips):
            at_ms = start * 1000 / self._rate
            first, last = (at_ms + packet * PACKET_MS for packet in (clip.first_voiced_packet, clip.last_voiced_packet))
            if not self._edges:
                clips.append(SpokenClip(clip.utterance_id, at_ms, first, last))
                continue
            until = self._clips[index + 1][0] if index + 1 < len(self._clips) else self._longest
            its = [edge for edge in self._edges if start <= self._position(edge.at_ns) < until]
            started, ended = (
                [ms_between(self.started_at_ns, edge.at_ns) for edge in its if isinstance(edge, kind)]
                for kind in (SpeechStarted, SpeechEnded)
            )
            if ended:
                clips.append(SpokenClip(clip.utterance_id, at_ms, started[0] if started else first, ended[0]))
        return clips


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
