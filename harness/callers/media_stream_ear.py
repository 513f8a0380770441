"""What the caller hears of a media stream: the agent's audio on the carrier's playout clock, with each arrival kept.

The detector is that of every other call (harness/media/onset.py). It is given what was *heard*, window by window, at
the time it was heard: what a clear flushed was never heard, and while the buffer is dry there is silence. The onset is
then told twice, as the arrival of the message whose audio began it, and as the moment the caller heard it.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.media.codecs import PCMA, PCMU, Codec
from harness.media.hot.g711 import ALAW, ULAW
from harness.media.hot.onset import MINIMUM_GATE_DBFS, SILENCE_DBFS, WINDOW_MS
from harness.media.onset import AgentOnset, AgentStopped, OnsetDetector, window_levels_dbfs
from harness.model.clock import NS_PER_MS
from harness.protocols.media_streams.playout import Heard

Pcm = npt.NDArray[np.int16]
WINDOW_NS = WINDOW_MS * NS_PER_MS
# The detector takes no more windows at once.
_LONGEST_ADD = 64
# A buffer that runs dry this soon behind a voiced window does so in the middle of speech, not behind a sentence.
MID_SPEECH_NS = 100 * NS_PER_MS
# A shorter hole is the jitter of an agent that sends in real time, and cannot be heard.
UNDERRUN_NS = 20 * NS_PER_MS
# Windows of which the arrival is still known when they turn out to have begun an onset.
_REMEMBERED = 1024
# Windows that are dated as one: 20 ms, as a packet's would be.
_MOST_WINDOWS = 4
# Silent ones need no date: so many go to the detector at once, which costs more a call than a window.
_MOST_SILENT = 12


@dataclass(frozen=True, slots=True)
class Speech:
    """One message's audio, ready to be heard."""

    payload: bytes
    # dBFS of each window that it completes, and where in it the first of them ends.
    levels: list[float]
    first_end_ns: int
    # For how long the buffer had run dry before it.
    dry_ns: int


class StreamEar:
    """One call's ear. Times are monotonic ns."""

    def __init__(self, codec: Codec, quiet_ms: float) -> None:
        self._codec = codec
        self._quiet_ns = int(quiet_ms * NS_PER_MS)
        self._detector = OnsetDetector(quiet_ms)
        # Samples of a window that no message has completed yet.
        self._rest: Pcm = np.zeros(0, np.int16)
        # When a window was heard -> when it arrived.
        self._arrivals: dict[int, int] = {}
        self._order: deque[int] = deque()
        # A hole in the middle of speech, until more speech shows that it was one: its end and length.
        self._hole: tuple[int, int] | None = None
        # As the detector has it, and silent windows that it has not been given yet.
        self._is_speaking = False
        self._silent: list[float] = []
        self.underruns = 0
        self.underrun_ns = 0

    def prepare(self, payload: bytes, dry_ns: int) -> Speech:
        """Return a message's audio for the playout buffer, in the order of arrival."""
        if dry_ns:
            self._rest = self._rest[:0]
        samples = np.concatenate([self._rest, _decode(payload, self._codec)])
        rate = self._codec.sample_rate
        size = rate * WINDOW_MS // 1000
        first_end_ns = (size - len(self._rest)) * 1_000_000_000 // rate
        levels = window_levels_dbfs(samples, rate)
        self._rest = samples[len(levels) * size :]
        return Speech(payload, levels, first_end_ns, dry_ns)

    def flush(self) -> None:
        """Take note that the buffer was cleared."""
        self._rest = self._rest[:0]

    def hear(self, heard: Heard[Speech]) -> AgentOnset | None:
        """Take what was heard next; return the onset that it makes sure of."""
        piece, speech = heard.piece, heard.piece.content
        if speech.dry_ns and heard.from_ns == piece.start_ns:
            self._note_hole(piece.start_ns, speech.dry_ns)
        first = _windows_by(heard.from_ns - piece.start_ns, speech)
        last = _windows_by(heard.until_ns - piece.start_ns, speech)
        # A window is dated to its first sample.
        begun_ns = piece.start_ns + speech.first_end_ns - WINDOW_NS
        return self._take(speech.levels[first:last], begun_ns + first * WINDOW_NS, piece.arrived_at_ns)

    def voiced_ns(self, heard: Heard[Speech]) -> int:
        """Return how much of what was heard last was audible speech."""
        if not self._is_speaking:
            return 0
        start_ns, speech, gate = heard.piece.start_ns, heard.piece.content, self._detector.gate_dbfs
        first, last = (_windows_by(at_ns - start_ns, speech) for at_ns in (heard.from_ns, heard.until_ns))
        return sum(WINDOW_NS for level in speech.levels[first:last] if level > gate)

    def poll(self, now_ns: int) -> AgentStopped | None:
        """Return the end of what was heard, once it has been quiet for long enough."""
        if not self._is_speaking:
            return None
        stopped = self._detector.poll(now_ns)
        self._is_speaking = stopped is None
        return stopped

    def _take(self, levels: list[float], at_ns: int, arrived_at_ns: int) -> AgentOnset | None:
        onset: AgentOnset | None = None
        if not self._is_speaking and max(levels, default=SILENCE_DBFS) <= MINIMUM_GATE_DBFS:
            self._silent += levels
            if len(self._silent) >= _MOST_SILENT:
                self._give_silence(at_ns)
            return None
        self._give_silence(at_ns)
        # Until the onset, what may have begun it goes in one by one, for its time.
        step = _MOST_WINDOWS if self._is_speaking else 1
        for i in range(0, len(levels), step):
            found = self._add(levels[i : i + step], at_ns + i * WINDOW_NS, arrived_at_ns)
            onset = onset or found
        return onset

    def _add(self, levels: list[float], heard_at_ns: int, arrived_at_ns: int) -> AgentOnset | None:
        self._remember(heard_at_ns, arrived_at_ns)
        found = self._detector.add(levels, heard_at_ns)
        self._settle_hole()
        if found is None:
            return None
        self._is_speaking = True
        arrived = self._arrivals.get(found.at_ns, arrived_at_ns)
        return AgentOnset(arrived, found.decided_at_ns, found.at_ns)

    def _give_silence(self, before_ns: int) -> None:
        silent, self._silent = self._silent, []
        for i in range(0, len(silent), _LONGEST_ADD):
            self._detector.add(silent[i : i + _LONGEST_ADD], before_ns)

    def _remember(self, heard_at_ns: int, arrived_at_ns: int) -> None:
        self._arrivals[heard_at_ns] = arrived_at_ns
        self._order.append(heard_at_ns)
        if len(self._order) > _REMEMBERED:
            self._arrivals.pop(self._order.popleft(), None)

    def _note_hole(self, end_ns: int, length_ns: int) -> None:
        """Take note that the buffer was dry until `end_ns`."""
        self._give_silence(end_ns - length_ns)
        detector = self._detector
        voiced_ago_ns = end_ns - length_ns - detector.last_voiced_at_ns
        is_mid_speech = self._is_speaking and voiced_ago_ns <= MID_SPEECH_NS
        if is_mid_speech and UNDERRUN_NS <= length_ns < self._quiet_ns:
            self._hole = (end_ns, length_ns)
        detector.silence(length_ns / NS_PER_MS)

    def _settle_hole(self) -> None:
        if self._hole is not None and self._detector.last_voiced_at_ns >= self._hole[0]:
            self.underruns += 1
            self.underrun_ns += self._hole[1]
            self._hole = None


def _windows_by(offset_ns: int, speech: Speech) -> int:
    """Return how many of its windows are over at an offset into the message's audio."""
    if offset_ns < speech.first_end_ns:
        return 0
    return min(len(speech.levels), (offset_ns - speech.first_end_ns) // WINDOW_NS + 1)


def _decode(payload: bytes, codec: Codec) -> Pcm:
    if codec is PCMU:
        return ULAW[np.frombuffer(payload, np.uint8)]
    if codec is PCMA:
        return ALAW[np.frombuffer(payload, np.uint8)]
    return np.frombuffer(payload, "<i2").astype(np.int16)
