"""When a user's turn begins and ends, from VAD probabilities. Pure: time comes in as an argument.

    probability   __|######|_|####|______________
    voiced chunks   ########  ####
    events           S              P       E
                     |              |       `- TurnEnded: `stop_after_ms` of audio without voice
                     |              `- SpeechPaused: `pause_ms` without voice; SpeechResumed where voice comes after all
                     `- SpeechStarted: `min_speech_ms` voiced

Silence is counted in audio, not on the clock: packets held up by the network and then arriving in a burst are not a
pause. Only when no audio comes at all for `gap_after_ms` does the clock decide (`tick`), so that a client that stops
sending while silent (DTX) is answered too.
"""

from dataclasses import dataclass

from harness.model.clock import NS_PER_MS


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """Thresholds of turn taking. Durations in ms of audio."""

    # Hysteresis: voice begins at the first, lasts down to the second.
    begin_probability: float = 0.5
    hold_probability: float = 0.35
    # Less voice than this is a click or a cough, not a turn.
    min_speech_ms: float = 120.0
    # Speaking over the agent for this long interrupts it; less is a backchannel ("mm-hm").
    barge_in_ms: float = 250.0
    stop_after_ms: float = 500.0
    # So much silence may be the turn's end, and is told as SpeechPaused; 0: is not told.
    pause_ms: float = 0.0
    # So much voice after it is speech again; less was a breath or a click.
    resume_ms: float = 90.0
    # A turn is cut here, so that what is kept of it is bounded.
    max_turn_ms: float = 120_000.0
    gap_after_ms: float = 1000.0


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Enough voice to call it speech. `onset_ns`: when its first voiced audio arrived."""

    onset_ns: int


@dataclass(frozen=True, slots=True)
class SpeechSustained:
    """The speech has lasted `barge_in_ms`: it is meant to be heard."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The user may be done. `last_voiced_ns`: when the last voiced audio arrived."""

    last_voiced_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The user was not done: it had been a pause."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The user is done. `last_voiced_ns`: when the last voiced audio arrived."""

    last_voiced_ns: int
    at_ns: int
    voiced_ms: float


@dataclass(frozen=True, slots=True)
class SpeechDiscarded:
    """Voice too short to be speech; nothing was announced for it."""

    at_ns: int


EndpointEvent = SpeechStarted | SpeechSustained | SpeechPaused | SpeechResumed | TurnEnded | SpeechDiscarded


class Endpointer:
    """Turns probabilities into turn events; one instance a call."""

    def __init__(self, rules: EndpointRules) -> None:
        self.rules = rules
        self._reset()

    def _reset(self) -> None:
        self._voiced_ms = 0.0
        self._turn_ms = 0.0
        self._unvoiced_ms = 0.0
        self._onset_ns = 0
        self._last_voiced_ns = 0
        self._last_audio_ns = 0
        self._started = False
        self._sustained = False
        # Voice since the last pause that was told; None while there was none.
        self._since_pause_ms: float | None = None

    @property
    def is_hearing_voice(self) -> bool:
        """True from the first voiced chunk until the turn ends or is discarded."""
        return self._voiced_ms > 0

    @property
    def is_speech(self) -> bool:
        """True from SpeechStarted until TurnEnded."""
        return self._started

    def feed(self, probability: float, duration_ms: float, arrived_at_ns: int) -> list[EndpointEvent]:
        """Take one chunk's probability; `arrived_at_ns` is when its last sample arrived."""
        threshold = self.rules.hold_probability if self.is_hearing_voice else self.rules.begin_probability
        self._last_audio_ns = arrived_at_ns
        if probability >= threshold:
            return self._voiced(duration_ms, arrived_at_ns)
        return self._unvoiced(duration_ms, arrived_at_ns) if self.is_hearing_voice else []

    def tick(self, now_ns: int) -> list[EndpointEvent]:
        """End a turn whose audio stopped coming."""
        if self.is_hearing_voice and now_ns - self._last_audio_ns >= self.rules.gap_after_ms * NS_PER_MS:
            return self._end(now_ns)
        return []

    def _voiced(self, duration_ms: float, at_ns: int) -> list[EndpointEvent]:
        if not self.is_hearing_voice:
            self._onset_ns = at_ns
        self._voiced_ms += duration_ms
        self._turn_ms += duration_ms
        self._unvoiced_ms = 0.0
        self._last_voiced_ns = at_ns
        events = [*self._resumed(duration_ms, at_ns), *self._milestones(at_ns)]
        if self._turn_ms >= self.rules.max_turn_ms:
            events += self._end(at_ns)
        return events

    def _milestones(self, at_ns: int) -> list[EndpointEvent]:
        events: list[EndpointEvent] = []
        if not self._started and self._voiced_ms >= self.rules.min_speech_ms:
            self._started = True
            events.append(SpeechStarted(self._onset_ns))
        if not self._sustained and self._voiced_ms >= max(self.rules.barge_in_ms, self.rules.min_speech_ms):
            self._sustained = True
            events.append(SpeechSustained(at_ns))
        return events

    def _unvoiced(self, duration_ms: float, at_ns: int) -> list[EndpointEvent]:
        self._turn_ms += duration_ms
        before_ms, self._unvoiced_ms = self._unvoiced_ms, self._unvoiced_ms + duration_ms
        if self._unvoiced_ms >= self.rules.stop_after_ms:
            return self._end(at_ns)
        if self._started and before_ms < self.rules.pause_ms <= self._unvoiced_ms:
            self._since_pause_ms = 0.0
            return [SpeechPaused(self._last_voiced_ns, at_ns)]
        return []

    def _resumed(self, duration_ms: float, at_ns: int) -> list[EndpointEvent]:
        if self._since_pause_ms is None:
            return []
        self._since_pause_ms += duration_ms
        if self._since_pause_ms < self.rules.resume_ms:
            return []
        self._since_pause_ms = None
        return [SpeechResumed(at_ns)]

    def _end(self, at_ns: int) -> list[EndpointEvent]:
        ended = TurnEnded(self._last_voiced_ns, at_ns, self._voiced_ms)
        was_speech = self._started
        self._reset()
        return [ended] if was_speech else [SpeechDiscarded(at_ns)]
