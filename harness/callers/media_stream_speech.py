"""The caller's side of a media stream: which 20 ms come next, and which of them carry an utterance's edges."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.media.clips import Clip
from harness.media.codecs import PACKET_MS, Codec
from harness.media.events import SpeechEnded, SpeechStarted
from harness.protocols.media_streams.wire import Payload

Edge = SpeechStarted | SpeechEnded


class Outgoing(NamedTuple):
    """One message's worth of audio. `edges` tells what has been said once it left at the given time."""

    payload: Payload
    packets: int
    timestamp_ms: int
    edges: tuple[Callable[[int], Edge], ...] = ()
    # The clip whose first packet this is.
    begins: Clip | None = None


@dataclass(slots=True)
class PreparedClips:
    """Clips as a wire takes them, made once for all calls that write alike."""

    prepare: Callable[[bytes], Payload]
    _by_clip: dict[int, tuple[Clip, tuple[Payload, ...]]] = field(default_factory=dict)

    def of(self, clip: Clip) -> tuple[Payload, ...]:
        """Return the clip's packets."""
        found = self._by_clip.get(id(clip))
        if found is None:
            # With the clip itself, lest another one take its address.
            found = self._by_clip[id(clip)] = (clip, tuple(self.prepare(p) for p in clip.payloads))
        return found[1]


class StreamSpeech:
    """What one caller says: clips, and silence between them."""

    def __init__(self, codec: Codec, packets_per_message: int, prepared: PreparedClips) -> None:
        self._per_message = packets_per_message
        self._prepared = prepared
        self._silence = codec.silence
        self._silent = prepared.prepare(codec.silence)
        self._clip: Clip | None = None
        self._packets: tuple[Payload, ...] = ()
        self._not_before_ns = 0
        self._index = 0
        # Packets given out so far: the stream's own time.
        self._count = 0
        # Of a message that takes several packets.
        self._waiting: list[bytes] = []
        self._edges: list[Callable[[int], Edge]] = []
        self._begins: Clip | None = None

    def play(self, clip: Clip, not_before_ns: int) -> None:
        """Speak `clip` in place of what is being spoken."""
        self._clip, self._not_before_ns, self._index = clip, not_before_ns, 0
        self._packets = self._prepared.of(clip) if self._per_message == 1 else ()

    def stop(self) -> None:
        """Fall silent."""
        self._clip = None

    @property
    def timestamp_ms(self) -> int:
        """The stream's own time."""
        return self._count * PACKET_MS

    def next(self, due_ns: int) -> Outgoing | None:
        """Return what is to be sent at a tick; None while a message of several packets fills."""
        clip = self._clip if due_ns >= self._not_before_ns else None
        timestamp_ms = self.timestamp_ms
        self._count += 1
        index = self._index
        if clip is not None:
            self._step(clip)
        if self._per_message == 1:
            payload = self._silent if clip is None else self._packets[index]
            return self._message(payload, 1, timestamp_ms)
        self._waiting.append(self._silence if clip is None else clip.payloads[index])
        if len(self._waiting) < self._per_message:
            return None
        joined, self._waiting = b"".join(self._waiting), []
        first_ms = timestamp_ms - (self._per_message - 1) * PACKET_MS
        return self._message(self._prepared.prepare(joined), self._per_message, first_ms)

    def _step(self, clip: Clip) -> None:
        name = clip.utterance_id
        if self._index == 0:
            self._begins = clip
        if self._index == clip.first_voiced_packet:
            self._edges.append(lambda at_ns: SpeechStarted(name, at_ns))
        if self._index == clip.last_voiced_packet:
            self._edges.append(lambda at_ns: SpeechEnded(name, at_ns))
        self._index += 1
        if self._index >= len(clip.payloads):
            self._clip = None

    def _message(self, payload: Payload, packets: int, timestamp_ms: int) -> Outgoing:
        if not self._edges and self._begins is None:
            # Nearly every message.
            return Outgoing(payload, packets, timestamp_ms)
        edges, self._edges = tuple(self._edges), []
        begins, self._begins = self._begins, None
        return Outgoing(payload, packets, timestamp_ms, edges, begins)
