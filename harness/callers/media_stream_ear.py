"""What the caller hears of a media stream: the agent's audio on the carrier's playout clock, with each arrival kept.

The detector is that of every other call (harness/media/hot/stream_ear.py). It is given what was *heard*, at the time it
was heard: what a clear flushed was never heard, and while the buffer is dry there is silence. The onset is then told
twice, as the arrival of the message whose audio began it, and as the moment the caller heard it.
"""

from typing import Any, NamedTuple

from harness.media.codecs import PCMA, PCMU, Codec
from harness.media.hot import stream_ear
from harness.media.hot.onset import WINDOW_MS
from harness.media.hot.stream_ear import StreamEars, make_stream_ears
from harness.media.onset import AgentOnset, AgentStopped
from harness.model.clock import NS_PER_MS, NS_PER_S
from harness.protocols.media_streams.playout import Heard

_WINDOW_NS = WINDOW_MS * NS_PER_MS
_LAWS = {PCMU.name: stream_ear.LAW_ULAW, PCMA.name: stream_ear.LAW_ALAW}
# Rows are made this many at a time: what compiled code takes them by costs as much as many rows.
_BLOCK = 64


class Speech(NamedTuple):
    """One message's audio as the playout buffer keeps it."""

    payload: bytes
    # For how long the buffer had run dry before it.
    dry_ns: int


class EarRows:
    """The rows of an engine's streams; a stream takes one and gives it back."""

    def __init__(self) -> None:
        self._free: list[tuple[StreamEars, memoryview, int]] = []

    def take(self) -> tuple[StreamEars, memoryview, int]:
        """Return a row: its tables, the place of its payload, its index."""
        if not self._free:
            tables = make_stream_ears(_BLOCK)
            # A view of plain bytes: filling it costs a third of what it does through numpy.
            payload = tables.payload.data
            self._free = [(tables, payload, index) for index in reversed(range(_BLOCK))]
        return self._free.pop()

    def give_back(self, row: tuple[StreamEars, memoryview, int]) -> None:
        """Let another stream have the row."""
        self._free.append(row)


class StreamEar:
    """One call's ear until `close`. Times are monotonic ns."""

    def __init__(self, codec: Codec, quiet_ms: float, rows: EarRows) -> None:
        self._rows = rows
        self._row = self._tables, self._payload, self._index = rows.take()
        self._is_closed = False
        self._rate = codec.sample_rate
        self._sample_bytes = 1 if codec.name in _LAWS else 2
        law = _LAWS.get(codec.name, stream_ear.LAW_LINEAR)
        quiet_ns = int(quiet_ms * NS_PER_MS)
        stream_ear.stream_ear_start(self._tables, self._index, law, codec.sample_rate, quiet_ns)
        # Until when the agent is speaking unless more speech comes; 0 = it is not.
        self._speaks_until_ns = 0
        self._underruns = (0, 0)
        # Windows of speech in what was heard last, but for its last part.
        self._voiced_before = 0

    @property
    def underruns(self) -> int:
        """How often the buffer ran dry in the middle of speech."""
        return self._underruns[0] if self._is_closed else int(self._tables.streams[self._index].underruns)

    @property
    def underrun_ns(self) -> int:
        """For how long it did."""
        return self._underruns[1] if self._is_closed else int(self._tables.streams[self._index].underrun_ns)

    def flush(self) -> None:
        """Take note that the buffer was cleared."""
        if not self._is_closed:
            stream_ear.stream_ear_flush(self._tables, self._index)

    def hear(self, heard: Heard[Speech]) -> AgentOnset | None:
        """Take what was heard next; return the onset that it makes sure of."""
        if self._is_closed:
            return None
        piece, from_ns, until_ns = heard
        start_ns, (payload, dry_ns) = piece.start_ns, piece.content
        if dry_ns and from_ns == start_ns:
            stream_ear.stream_ear_hole(self._tables, self._index, start_ns, dry_ns)
        first, last = (from_ns - start_ns) * self._rate // NS_PER_S, (until_ns - start_ns) * self._rate // NS_PER_S
        onset = None
        most = stream_ear.MOST_BYTES // self._sample_bytes
        self._voiced_before = 0
        while first < last:
            count = min(most, last - first)
            at_ns = start_ns + first * NS_PER_S // self._rate
            onset = self._hear(payload, first, count, at_ns, piece.arrived_at_ns) or onset
            first += count
            if first < last:
                self._voiced_before += int(self._tables.told[stream_ear.VOICED])
        return onset

    def _hear(self, payload: bytes, first: int, count: int, at_ns: int, arrived_at_ns: int) -> AgentOnset | None:
        size = count * self._sample_bytes
        if first or size != len(payload):
            start = first * self._sample_bytes
            payload = payload[start : start + size]
        self._payload[:size] = payload
        until_ns = stream_ear.stream_ear_hear(self._tables, self._index, size, at_ns, arrived_at_ns)
        if until_ns >= 0:
            self._speaks_until_ns = until_ns
            return None
        self._speaks_until_ns = -until_ns
        told: Any = self._tables.told
        arrived, decided = int(told[stream_ear.ARRIVED_AT]), int(told[stream_ear.DECIDED_AT])
        return AgentOnset(arrived, decided, int(told[stream_ear.HEARD_AT]))

    def voiced_ns(self) -> int:
        """Return how much of what was heard last was audible speech; directly behind `hear`."""
        return (self._voiced_before + int(self._tables.told[stream_ear.VOICED])) * _WINDOW_NS

    def poll(self, now_ns: int) -> AgentStopped | None:
        """Return the end of what was heard, once it has been quiet for long enough."""
        if not 0 < self._speaks_until_ns <= now_ns or self._is_closed:
            return None
        self._speaks_until_ns = 0
        at_ns = stream_ear.stream_ear_poll(self._tables, self._index, now_ns)
        return AgentStopped(int(at_ns)) if at_ns else None

    def close(self) -> None:
        """Give the row back; the counts stay."""
        if not self._is_closed:
            self._underruns = (self.underruns, self.underrun_ns)
            self._is_closed = True
            self._rows.give_back(self._row)
