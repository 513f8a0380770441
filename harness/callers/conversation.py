r"""One caller's side of a conversation, without I/O: events and `now` in, actions and records out.

    GREETING --onset--> LISTENING --agent quiet--> THINKING --due--> SPEAKING --last voiced packet--> AWAITING
        \--time-out, or no greeting expected--------^    ^                                             |  |
                                                         \------- agent quiet <-- LISTENING <--onset---/  |
                                                                                 time-out: say it again, or hang up

The caller speaks its planned utterances in order, waits for the agent to finish before each, repeats an unanswered one
as often as the persona does, and hangs up when done, when nothing more can come, or when patience runs out.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto

from harness.callers.exchange import (
    Action,
    AgentSpeaking,
    AgentStages,
    AgentText,
    CallEvent,
    Disconnected,
    HangUp,
    Hold,
    MediaView,
    Milestone,
    Press,
    Speak,
    Spoken,
    TranscriptChannel,
    TurnEnded,
    UserTranscript,
)
from harness.callers.patience import MISHEARD_BELOW, PatienceMeter, heard_share
from harness.callers.turn import Turn
from harness.media.events import (
    DigitEnded,
    DigitHeard,
    DigitSent,
    MediaFailed,
    MediaLost,
    RemoteBye,
    SpeechEnded,
    SpeechStarted,
)
from harness.media.onset import AgentOnset, AgentStopped
from harness.model.clock import NS_PER_MS, ms_between
from harness.model.plan import PROPER, CallPlan
from harness.model.records import Cause, Outcome, TurnRecord

# After the agent's last audible packet a side channel may still say "speaking": a sentence is on its way.
SPEAKING_GRACE_NS = 10_000 * NS_PER_MS
# An agent that cut in and still spoke this long after the user's end has answered; a shorter tail is a yield.
EARLY_ANSWER_NS = 500 * NS_PER_MS
# A key is heard for 100 ms, and another 100 ms pass before the next one.
KEY_MS = 200


class State(Enum):
    """Where the caller is."""

    GREETING = auto()
    LISTENING = auto()
    THINKING = auto()
    ACTING = auto()
    SPEAKING = auto()
    AWAITING = auto()
    OVER = auto()


class Conversation:
    """One call's conversation. Call `start` at media up, `handle` per event, `expire` at `deadline_ns`."""

    def __init__(self, plan: CallPlan, utterances: dict[str, Spoken], codec: str) -> None:
        self._plan = plan
        self._utterances = utterances
        # Turns are recorded under these names.
        self.codec = codec
        self.transport = plan.target.transport
        self._patience = PatienceMeter(plan.patience)
        self._limits = plan.limits
        self._turn: Turn | None = None
        self._next = 0
        self._state = State.GREETING
        self._connected_at_ns = 0
        self._transcript_channel: str | None = None
        self._side_speaking = False
        self._agent_is_speaking = False
        self._timed_out = False
        # Of the next turn's actions.
        self._done = 0
        self._is_holding = False
        self._quiet_since_ns: int | None = None
        self._ends_at_ns = 0
        self._misconduct = plan.misconduct or PROPER
        self._barge_ins_left = self._misconduct.barge_ins
        self.barge_ins = 0
        self.deadline_ns: int | None = None
        self.greeting_ms: float | None = None
        self.turns_answered = 0

    @property
    def state(self) -> State:
        """Where the caller is."""
        return self._state

    def start(self, now_ns: int) -> list[Action]:
        """Begin at media up."""
        self._connected_at_ns = now_ns
        self._ends_at_ns = now_ns + int(self._limits.call_timeout_ms * NS_PER_MS)
        if self._plan.expect_greeting:
            self._wait(State.GREETING, now_ns, self._limits.greeting_timeout_ms)
            return []
        return self._think(now_ns, now_ns)

    def handle(self, event: CallEvent, now_ns: int, media: Callable[[], MediaView] = MediaView) -> list[Action]:
        """Take one event; return what to do, in order. `media` is asked where a turn's record needs it."""
        if self._state is State.OVER:
            return []
        match event:
            case AgentOnset():
                return self._on_onset(event, now_ns, media)
            case AgentStopped():
                return self._on_stopped(event, now_ns)
            case SpeechStarted():
                return self._on_speech_started(event)
            case SpeechEnded():
                return self._on_speech_ended(event, media)
            case UserTranscript() | AgentText() | AgentStages() | AgentSpeaking() | TranscriptChannel():
                return self._on_side(event, now_ns)
            case MediaLost() | MediaFailed() | Disconnected() | RemoteBye():
                return self._on_end(event, now_ns)
            case DigitSent() | DigitHeard() | DigitEnded():
                # Keys are no speech.
                return []

    def _on_end(self, event: MediaLost | MediaFailed | Disconnected | RemoteBye, now_ns: int) -> list[Action]:
        match event:
            case MediaLost():
                seconds = ms_between(event.since_ns, now_ns) / 1000
                detail = f"nothing was received for {seconds:.1f} s"
                return self._end(Outcome.DROPPED, Cause.MEDIA_LOST, now_ns, detail)
            case MediaFailed():
                return self._end(Outcome.LOST, Cause.GENERATOR_ERROR, now_ns, event.detail)
            case Disconnected():
                return self._end(Outcome.DROPPED, event.cause, now_ns, event.detail)
            case RemoteBye():
                return self._end(Outcome.DROPPED, Cause.AGENT_HUNG_UP, now_ns, "RTCP BYE")

    def expire(self, now_ns: int) -> list[Action]:
        """Act on a deadline that has passed."""
        if self._state is State.OVER or self.deadline_ns is None or now_ns < self.deadline_ns:
            return []
        if now_ns >= self._ends_at_ns:
            limit = f"{self._limits.call_timeout_ms / 1000:.0f} s"
            return self._end(Outcome.DROPPED, Cause.CALL_TIMEOUT, now_ns, f"longer than {limit}")
        match self._state:
            case State.GREETING:
                return self._greeting_missed(now_ns)
            case State.THINKING:
                return self._act(now_ns) or self._speak(now_ns)
            case State.ACTING:
                return self._acted(now_ns)
            case State.AWAITING:
                return self._answer_missed(now_ns)
            case State.LISTENING if self._agent_is_speaking and self._barge_ins_left > 0:
                return self._barge_in(now_ns)
            case State.LISTENING:
                return self._agent_finished(now_ns)
            case _:
                self._arm(None)
                return []

    def interrupt(self, now_ns: int, outcome: Outcome, cause: Cause, detail: str) -> list[Action]:
        """End the call from outside: the operator, or a failure of the generator."""
        return self._end(outcome, cause, now_ns, detail) if self._state is not State.OVER else []

    # --- transitions -----------------------------------------------------------------------------------------------

    def _arm(self, at_ns: int | None) -> None:
        self.deadline_ns = self._ends_at_ns if at_ns is None else min(at_ns, self._ends_at_ns)

    def _wait(self, state: State, since_ns: int, timeout_ms: float) -> None:
        """Wait in dead air: until the time-out, or until patience runs out before it."""
        bearable = self._patience.longest_wait_ms()
        self._state = state
        self._arm(since_ns + int((timeout_ms if bearable is None else min(timeout_ms, bearable)) * NS_PER_MS))

    def _think(self, since_ns: int, now_ns: int) -> list[Action]:
        if self._next >= len(self._plan.turns):
            return self._end(Outcome.COMPLETED, Cause.NONE, now_ns)
        self._state = State.THINKING
        self._arm(max(now_ns, since_ns + int(self._plan.turns[self._next].think_ms * NS_PER_MS)))
        return []

    def _act(self, now_ns: int) -> list[Action]:
        """Begin the next of the turn's actions; [] when all of them are done."""
        planned = self._plan.turns[self._next].actions
        if self._done >= len(planned):
            return []
        action = planned[self._done]
        self._done += 1
        self._state = State.ACTING
        length_ms = action.hold_ms or KEY_MS * len(action.dtmf)
        self._arm(now_ns + int(length_ms * NS_PER_MS))
        self._is_holding = not action.dtmf
        return [Press(action.dtmf) if action.dtmf else Hold(on=True)]

    def _acted(self, now_ns: int) -> list[Action]:
        """End an action: what the agent began to say over it is heard out, then the caller thinks again."""
        actions: list[Action] = [Hold(on=False)] if self._is_holding else []
        self._is_holding = False
        if self._agent_is_speaking:
            self._state = State.LISTENING
            self._arm(None)
            return actions
        return actions + self._think(now_ns, now_ns)

    def _speak(self, now_ns: int) -> list[Action]:
        actions = self._close_turn()
        planned = self._plan.turns[self._next]
        attempt = 0
        if self._turn is not None and self._turn.number == self._next + 1:
            attempt = self._turn.attempt + 1
        self._turn = Turn(self._next + 1, attempt, planned, out_of_step=self._timed_out)
        self._done = 0
        self._state = State.SPEAKING
        self._arm(None)
        return [*actions, Speak(planned.utterance_id), Milestone("turn_started", now_ns)]

    def _on_speech_started(self, event: SpeechStarted) -> list[Action]:
        if self._turn is not None:
            self._turn.started_at_ns = event.at_ns
        return []

    def _on_speech_ended(self, event: SpeechEnded, media: Callable[[], MediaView]) -> list[Action]:
        if self._turn is None or self._state is not State.SPEAKING:
            return []
        self._turn.ended_at_ns = event.at_ns
        self._turn.lost_at_end = media().packets_lost
        if self._agent_is_speaking:
            # Nobody waits in silence while the other one speaks; its end decides (see _on_stopped).
            self._state = State.AWAITING
            self._arm(None)
        else:
            self._wait(State.AWAITING, event.at_ns, self._limits.answer_timeout_ms)
        return []

    def _on_onset(self, event: AgentOnset, now_ns: int, media: Callable[[], MediaView]) -> list[Action]:
        self._quiet_since_ns = None
        self._agent_is_speaking = True
        match self._state:
            case State.GREETING:
                # Media may be ahead of the answer that it belongs to.
                self.greeting_ms = max(0.0, ms_between(self._connected_at_ns, event.at_ns))
                self._listen(event)
                return [Milestone("greeting", event.at_ns, self.greeting_ms)]
            case State.SPEAKING:
                if self._turn is not None:
                    self._turn.overlapped = True
                return []
            case State.AWAITING:
                return self._answered(event, now_ns, media())
            case State.THINKING | State.LISTENING:
                # Behind a pause, too: what was armed for its end no longer holds.
                self._listen(event)
                return []
            case _:
                return []

    def _answered(self, event: AgentOnset, now_ns: int, view: MediaView) -> list[Action]:
        turn = self._turn
        if turn is None or turn.ended_at_ns is None:
            return []
        if event.at_ns < turn.ended_at_ns:
            # Looked back to a packet that came while the user still spoke.
            turn.overlapped = True
            self._arm(None)
            return []
        turn.onset_at_ns, turn.heard_at_ns = event.at_ns, event.heard_at_ns
        turn.waited_ms = ms_between(turn.ended_at_ns, event.at_ns)
        turn.lost_packets = max(0, view.packets_lost - turn.lost_at_end)
        turn.network_ms = view.round_trip_ms
        self.turns_answered += 1
        # The caller bears what it hears.
        self._patience.answered(ms_between(turn.ended_at_ns, event.heard_at_ns or event.at_ns))
        self._listen(event)
        answered = Milestone("turn_answered", event.at_ns, turn.waited_ms)
        return [answered, *self._leave_if_fed_up(now_ns)]

    def _listen(self, event: AgentOnset) -> None:
        """Hear the agent out, or until it is time to speak over it."""
        self._state = State.LISTENING
        later_ns = int(self._misconduct.barge_in_after_ms * NS_PER_MS)
        self._arm(event.at_ns + later_ns if self._barge_ins_left > 0 else None)

    def _barge_in(self, now_ns: int) -> list[Action]:
        """Say the next utterance over the agent's voice; nothing where there is none left."""
        if self._turn is not None and self._turn.is_answered:
            self._next = self._turn.number
        if self._next >= len(self._plan.turns):
            self._arm(None)
            return []
        self._barge_ins_left -= 1
        self.barge_ins += 1
        actions = self._speak(now_ns)
        if self._turn is not None:
            self._turn.is_barge_in = True
        return actions

    def _on_stopped(self, event: AgentStopped, now_ns: int) -> list[Action]:
        self._agent_is_speaking = False
        if self._turn is not None and self._turn.is_barge_in and self._turn.yielded_at_ns is None:
            self._turn.yielded_at_ns = event.at_ns
        if self._state is State.AWAITING:
            self._overlap_ended(event)
        if self._turn is not None and self._turn.is_answered:
            self._turn.agent_stopped_at_ns = event.at_ns
        if self._state is not State.LISTENING:
            return []
        self._quiet_since_ns = event.at_ns
        if self._side_speaking:
            self._arm(event.at_ns + SPEAKING_GRACE_NS)
            return []
        return self._agent_finished(now_ns)

    def _overlap_ended(self, event: AgentStopped) -> None:
        """Decide what speech that began before the user's end was: an early answer, or a yield and the wait goes on."""
        turn = self._turn
        if turn is None or turn.ended_at_ns is None:
            return
        # What it spoke on over a barge-in was still the answer before; what it says after that is another matter.
        is_before = turn.is_barge_in and turn.yielded_at_ns == event.at_ns
        if is_before or event.at_ns - turn.ended_at_ns < EARLY_ANSWER_NS:
            since_ns = max(turn.ended_at_ns, event.at_ns) if is_before else turn.ended_at_ns
            self._wait(State.AWAITING, since_ns, self._limits.answer_timeout_ms)
            return
        turn.answered_early = True
        self.turns_answered += 1
        self._state = State.LISTENING

    def _agent_finished(self, now_ns: int) -> list[Action]:
        since = now_ns if self._quiet_since_ns is None else self._quiet_since_ns
        if self._turn is None or not self._turn.is_answered:
            # The greeting ended, or the agent spoke before the turn was said.
            return self._think(since, now_ns)
        turn = self._turn
        if self._heard_badly(turn):
            self._patience.misheard()
        self._next = turn.number
        actions = self._close_turn()
        self._turn = None
        return [*actions, *(self._leave_if_fed_up(now_ns) or self._think(since, now_ns))]

    def _heard_badly(self, turn: Turn) -> bool:
        reference = self._utterances[turn.planned.utterance_id].transcript
        return turn.hypothesis is not None and heard_share(reference, turn.hypothesis) < MISHEARD_BELOW

    def _greeting_missed(self, now_ns: int) -> list[Action]:
        self._patience.dead_air(ms_between(self._connected_at_ns, now_ns))
        return self._leave_if_fed_up(now_ns) or self._think(now_ns, now_ns)

    def _answer_missed(self, now_ns: int) -> list[Action]:
        turn = self._turn
        if turn is None or turn.ended_at_ns is None:
            return []
        turn.censored = True
        self._timed_out = True
        turn.waited_ms = ms_between(turn.ended_at_ns, now_ns)
        self._patience.dead_air(turn.waited_ms)
        left = self._leave_if_fed_up(now_ns)
        if left:
            return left
        if turn.attempt >= self._plan.patience.max_repeats:
            detail = f"turn {turn.number} was said {turn.attempt + 1} times"
            return self._end(Outcome.DROPPED, Cause.NO_ANSWER, now_ns, detail)
        self._patience.repeated()
        return self._leave_if_fed_up(now_ns) or self._speak(now_ns)

    def _leave_if_fed_up(self, now_ns: int) -> list[Action]:
        cause = self._patience.ran_out()
        return [] if cause is None else self._end(Outcome.DROPPED, cause, now_ns)

    def _on_side(
        self, event: UserTranscript | AgentText | AgentStages | AgentSpeaking | TranscriptChannel, now_ns: int
    ) -> list[Action]:
        turn = self._turn
        match event:
            case TranscriptChannel():
                self._transcript_channel = event.name
            case AgentSpeaking():
                self._side_speaking = event.speaking
                if not event.speaking and self._state is State.LISTENING and self._quiet_since_ns is not None:
                    return self._agent_finished(now_ns)
            case UserTranscript() if turn is not None and event.text.strip():
                turn.hear(event)
            case AgentText() if turn is not None:
                turn.agent_text.setdefault(event.source, []).append(event.text.strip())
            case AgentStages() if turn is not None:
                turn.stages = event.stages
            case _:
                pass
        return []

    def _end(self, outcome: Outcome, cause: Cause, now_ns: int, detail: str = "") -> list[Action]:
        turn = self._turn
        actions: list[Action] = []
        if turn is not None and turn.started_at_ns is not None:
            cut = outcome in (Outcome.INTERRUPTED, Outcome.LOST) and not turn.is_answered and not turn.censored
            if not turn.is_answered and not cut and turn.ended_at_ns is not None:
                turn.censored = True
                turn.waited_ms = ms_between(turn.ended_at_ns, now_ns)
            actions = [TurnEnded(replace(self._record(turn), cut=cut))]
        self._turn = None
        self._state = State.OVER
        self.deadline_ns = None
        return [*actions, HangUp(outcome, cause, detail)]

    # --- records ---------------------------------------------------------------------------------------------------

    def _close_turn(self) -> list[Action]:
        turn = self._turn
        return [] if turn is None or turn.started_at_ns is None else [TurnEnded(self._record(turn))]

    def _record(self, turn: Turn) -> TurnRecord:
        spoken = self._utterances[turn.planned.utterance_id]
        return turn.record(
            self._plan,
            spoken,
            codec=self.codec,
            transport=self.transport,
            transcript_channel=self._transcript_channel,
        )
