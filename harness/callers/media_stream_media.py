"""One media stream's audio while the call lasts: says what is due, plays out what came, hears it, and keeps watch.

    tick, every 20 ms   caller's next audio -> wire -> link; playout -> ear -> onset, stop; marks that were reached
    read, when it came  link -> wire -> audio into the playout buffer; marks; clears; goodbyes

A connection that went silent or broke is noticed in three ways: by TCP (nobody acknowledges what we send), by pings
that nothing answers, by an agent that does not read what it is sent.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from harness.callers.exchange import CallEvent, Disconnected
from harness.callers.media_stream_ear import EarRows, Speech, StreamEar
from harness.callers.media_stream_link import Read, StreamLink
from harness.callers.media_stream_speech import Outgoing, PreparedClips, StreamSpeech
from harness.callers.media_stream_ticker import StreamTicker
from harness.media.clips import Clip
from harness.media.codecs import Codec
from harness.media.events import MediaLost, SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.recorder import Recorder
from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from harness.model.records import Cause, MediaStats, StreamFacts
from harness.protocols.media_streams.dialect import OnClear
from harness.protocols.media_streams.messages import AgentAudio, Clear, ForgetMarks, HangUp, Mark, Other
from harness.protocols.media_streams.playout import MOST_MARKS, Heard, Playout
from harness.protocols.media_streams.web_socket import Alive
from harness.protocols.media_streams.wire import Bad, Ended, Wire, WireEvent

_LATE_NS = 2 * NS_PER_MS
_PING_EVERY_NS = 2 * NS_PER_S
# After our goodbye the agent may close first, as it should.
_GOODBYE_S = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamMediaSpec:
    """What a stream's media is told when it begins."""

    name: str
    dialect: str
    codec: Codec
    quiet_ms: float
    media_timeout_ms: float
    post: Callable[[CallEvent], None]
    recorder: Recorder | None
    # Shared by all calls whose wires write audio alike.
    prepared: PreparedClips
    ears: EarRows


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    received: int = 0
    bad: int = 0
    first_bad: str = ""
    other: int = 0
    stamped: int = 0
    unstamped: int = 0
    audio_ns: int = 0
    heard_ns: int = 0
    marks: int = 0
    marks_reached: int = 0
    clears: int = 0
    flushed_ns: int = 0
    talk_over_ns: int = 0
    digits: int = 0


class StreamMedia:
    """One call's. `start` once; `close` leaves nothing behind."""

    def __init__(self, link: StreamLink, wire: Wire, spec: StreamMediaSpec, ticker: StreamTicker) -> None:
        self._link = link
        self._wire = wire
        self._spec = spec
        self._ticker = ticker
        self._post = spec.post
        self._speech = StreamSpeech(spec.codec, wire.packets_per_message, spec.prepared)
        self._playout: Playout[Speech] = Playout()
        self._ear = StreamEar(spec.codec, spec.quiet_ms, spec.ears)
        self._counts = _Counts()
        self._is_over = False
        self._is_caller_speaking = False
        self._has_cleared = False
        now = monotonic_ns()
        # When anything at all came, and when it was asked for last.
        self._alive_at_ns = now
        self._pinged_at_ns = now
        self._awaits_pong = False
        # Since when the kernel takes nothing from us; 0 = it does.
        self._stuck_since_ns = 0
        self._round_trip_ns = 0
        self._ended = asyncio.Event()

    def start(self, early: "list[WireEvent]", at_ns: int) -> None:
        """Begin the stream; `early` is what came with the handshake's answer."""
        self._link.send(self._wire.open())
        self._link.listen(self._on_read, self._on_broken)
        for event in early:
            # Dated by when the call was up, whenever it came.
            self._counts.unstamped += isinstance(event, AgentAudio)
            self._on_event(event, at_ns)
        self._ticker.add(self)

    # --- what the call asks ----------------------------------------------------------------------------------------

    def play(self, clip: Clip, not_before_ns: int = 0) -> None:
        """Speak `clip` in place of what is being spoken, from the first tick at or after `not_before_ns` on."""
        self._speech.play(clip, not_before_ns)

    def stop_playing(self) -> None:
        """Fall silent at the next tick."""
        self._speech.stop()
        self._is_caller_speaking = False
        self._cut_recording()

    def press(self, digits: str) -> None:
        """Press keys; the carrier tells each of them by a message."""
        for digit in digits:
            data = self._wire.dtmf(digit, self._speech.timestamp_ms)
            if data is not None and not self._is_over:
                self._link.send(data)
                self._counts.digits += 1

    def stats(self) -> MediaStats:
        """Return the counts so far; a packet is a message with audio."""
        counts = self._counts
        return MediaStats(
            packets_sent=counts.sent,
            packets_received=counts.received,
            packets_discarded=counts.bad,
            round_trip_ms=self._round_trip_ns / NS_PER_MS if self._round_trip_ns else None,
        )

    def facts(self) -> StreamFacts:
        """Return what the stream went through so far."""
        counts = self._counts
        clock = "" if not counts.received else "kernel" if not counts.unstamped else "read"
        return StreamFacts(
            dialect=self._spec.dialect,
            arrival_clock="mixed" if counts.stamped and counts.unstamped else clock,
            bad_messages=counts.bad,
            first_bad=counts.first_bad,
            other_messages=counts.other,
            audio_ms=counts.audio_ns / NS_PER_MS,
            heard_ms=counts.heard_ns / NS_PER_MS,
            longest_buffer_ms=self._playout.longest_ns / NS_PER_MS,
            marks=counts.marks,
            marks_unreached=counts.marks - counts.marks_reached,
            clears=counts.clears,
            flushed_ms=counts.flushed_ns / NS_PER_MS,
            talk_over_after_clear_ms=counts.talk_over_ns / NS_PER_MS,
            underruns=self._ear.underruns,
            underrun_ms=self._ear.underrun_ns / NS_PER_MS,
            digits_sent=counts.digits,
        )

    async def close(self) -> MediaStats:
        """Say goodbye, let the agent close, and let go of the connection; may be called again."""
        if not self._is_over:
            self._stop()
            if self._link.send(self._wire.stop()):
                if self._wire.ends_by_fin:
                    self._link.finish()
                try:
                    await asyncio.wait_for(self._ended.wait(), _GOODBYE_S)
                except TimeoutError:
                    _logger.debug("call %s: the agent did not close within %s s", self._spec.name, _GOODBYE_S)
        self._link.close()
        self._ear.close()
        return self.stats()

    def _stop(self) -> None:
        self._is_over = True
        self._ticker.remove(self)
        self._cut_recording()

    def _cut_recording(self) -> None:
        if self._spec.recorder is not None:
            self._spec.recorder.cut(monotonic_ns())

    # --- the clock's tick ------------------------------------------------------------------------------------------

    def tick(self, due_ns: int) -> int:
        """Send what is due, and hear what has been played; return how many packets left."""
        now = monotonic_ns()
        if now - due_ns > _LATE_NS:
            # We were held up: what came meanwhile is older than this tick, and decides what is heard by now.
            self._link.read_waiting()
            if self._is_over:
                return 0
        outgoing = self._speech.next(due_ns)
        if outgoing is not None:
            self._say(outgoing)
        if not self._is_over:
            self._play_out(now)
        if not self._is_over:
            self._watch(now)
        return 0 if outgoing is None else outgoing.packets

    def _say(self, outgoing: Outgoing) -> None:
        is_sent = self._link.send(self._wire.audio(outgoing.payload, outgoing.timestamp_ms))
        now = monotonic_ns()
        self._counts.sent += 1
        if is_sent:
            self._stuck_since_ns = 0
        elif not self._stuck_since_ns:
            self._stuck_since_ns = now
        if outgoing.begins is not None and self._spec.recorder is not None:
            self._spec.recorder.clip_started(outgoing.begins, now)
        for edge in outgoing.edges:
            if is_sent:
                self._tell_edge(edge(now))
            else:
                self._link.when_sent(lambda at_ns, edge=edge: self._tell_edge(edge(at_ns)))  # type: ignore[misc]

    def _tell_edge(self, edge: SpeechStarted | SpeechEnded) -> None:
        self._is_caller_speaking = isinstance(edge, SpeechStarted)
        if self._is_caller_speaking:
            self._has_cleared = False
        if not self._is_over:
            self._tell(edge)

    def _tell(self, event: SpeechStarted | SpeechEnded | AgentOnset | AgentStopped) -> None:
        if self._spec.recorder is not None:
            self._spec.recorder.told(event)
        self._post(event)

    def _play_out(self, now_ns: int) -> None:
        for heard in self._playout.heard(now_ns):
            self._counts.heard_ns += heard.until_ns - heard.from_ns
            if self._spec.recorder is not None:
                self._record(heard, self._spec.recorder)
            onset = self._ear.hear(heard)
            if self._is_caller_speaking and self._has_cleared:
                self._counts.talk_over_ns += self._ear.voiced_ns()
            if onset is not None and not self._is_over:
                self._tell(onset)
        for mark in self._playout.marks_reached(now_ns):
            self._counts.marks_reached += 1
            self._tell_mark(mark.name, is_cleared=False)
        stopped = self._ear.poll(now_ns)
        if stopped is not None and not self._is_over:
            self._tell(stopped)

    def _record(self, heard: Heard[Speech], recorder: Recorder) -> None:
        """Keep what was heard, as it was heard: a clear may cut a message anywhere."""
        rate, size = self._spec.codec.sample_rate, self._wire.audio_format.sample_bytes
        first, last = ((at_ns - heard.piece.start_ns) * rate // NS_PER_S for at_ns in (heard.from_ns, heard.until_ns))
        position = heard.piece.start_ns * rate // NS_PER_S + first
        payload = heard.piece.content.payload[first * size : last * size]
        recorder.agent_payload(payload, position & 0xFFFFFFFF, heard.from_ns)

    def _watch(self, now_ns: int) -> None:
        limit_ns = self._spec.media_timeout_ms * NS_PER_MS
        if self._stuck_since_ns and now_ns - self._stuck_since_ns > limit_ns:
            self._lose(Disconnected("the agent does not read what it is sent", Cause.MEDIA_LOST))
            return
        if now_ns - self._pinged_at_ns < _PING_EVERY_NS:
            return
        ping = self._wire.ping()
        if ping is None:
            self._pinged_at_ns = now_ns
        elif now_ns - self._alive_at_ns > limit_ns:
            self._lose(MediaLost(self._alive_at_ns))
        else:
            self._link.send(ping)
            self._pinged_at_ns, self._awaits_pong = now_ns, True

    def _lose(self, event: CallEvent) -> None:
        self._stop()
        self._link.close()
        self._post(event)

    # --- what comes ------------------------------------------------------------------------------------------------

    def _on_read(self, read: Read) -> None:
        events, answer = self._wire.receive(read.data or None)
        if answer:
            self._link.send(answer)
        self._alive_at_ns = max(self._alive_at_ns, read.at_ns)
        for event in events:
            if isinstance(event, AgentAudio):
                if read.is_stamped:
                    self._counts.stamped += 1
                else:
                    self._counts.unstamped += 1
                self._on_audio(event, read.at_ns)
            else:
                self._on_event(event, read.at_ns)

    def _on_event(self, event: WireEvent, at_ns: int) -> None:
        match event:
            case AgentAudio():
                self._on_audio(event, at_ns)
            case Mark():
                self._counts.marks += 1
                if not self._playout.mark(event.name, at_ns):
                    self._count_bad(f"more than {MOST_MARKS} marks wait to be reached")
            case Clear():
                self._on_clear(at_ns)
            case ForgetMarks():
                self._playout.forget_marks()
            case Alive():
                self._on_alive(event, at_ns)
            case Bad():
                self._count_bad(str(event.error))
            case Other():
                self._counts.other += 1
            case _:
                self._on_end(event)

    def _on_alive(self, event: Alive, at_ns: int) -> None:
        if event.is_pong and self._awaits_pong:
            self._awaits_pong = False
            self._round_trip_ns = max(1, at_ns - self._pinged_at_ns)

    def _on_end(self, event: HangUp | Ended) -> None:
        match event:
            case HangUp():
                self._end(Disconnected("the agent hung up"))
            case Ended():
                self._end(Disconnected(event.detail, Cause.CONNECTION_LOST if event.is_broken else Cause.AGENT_HUNG_UP))

    def _on_audio(self, audio: AgentAudio, at_ns: int) -> None:
        self._counts.received += 1
        duration_ns = self._wire.audio_format.duration_ns(len(audio.payload))
        self._counts.audio_ns += duration_ns
        dry_ns = self._playout.dry_ns(at_ns)
        if not self._playout.arrive(Speech(audio.payload, dry_ns), duration_ns, at_ns):
            self._count_bad(
                "more audio waits to be heard than the buffer holds (half an hour); what comes on top is lost"
            )

    def _count_bad(self, why: str) -> None:
        self._counts.bad += 1
        self._counts.first_bad = self._counts.first_bad or why

    def _on_clear(self, at_ns: int) -> None:
        if not self._is_over:
            self._play_out(at_ns)
        names, flushed_ns = self._playout.clear(at_ns)
        self._ear.flush()
        self._counts.clears += 1
        self._counts.flushed_ns += flushed_ns
        self._has_cleared = True
        if self._wire.on_clear is not OnClear.DROPPED:
            for name in names:
                self._tell_mark(name, is_cleared=self._wire.on_clear is OnClear.CLEARED)
        confirmed = self._wire.cleared()
        if confirmed is not None and not self._is_over:
            self._link.send(confirmed)

    def _tell_mark(self, name: str, *, is_cleared: bool) -> None:
        data = self._wire.mark_played(name, is_cleared=is_cleared)
        if data is not None and not self._is_over:
            self._link.send(data)

    def _end(self, event: Disconnected) -> None:
        self._ended.set()
        if not self._is_over:
            self._stop()
            self._post(event)

    def _on_broken(self, error: OSError) -> None:
        why = error.strerror or str(error)
        if isinstance(error, TimeoutError):
            self._end(Disconnected(f"nobody acknowledged what was sent: {why}", Cause.MEDIA_LOST))
        else:
            self._end(Disconnected(f"the connection broke: {why}", Cause.CONNECTION_LOST))
