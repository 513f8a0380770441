from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.callers.conversation import SPEAKING_GRACE_NS, Conversation, State
from harness.callers.exchange import (
    AgentSpeaking,
    AgentStages,
    AgentText,
    Disconnected,
    HangUp,
    Hold,
    MediaView,
    Milestone,
    Press,
    Speak,
    TranscriptChannel,
    TurnEnded,
    UserTranscript,
)
from harness.media.events import MediaLost, RemoteBye, SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset, AgentStopped
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedAction, PlannedTurn, TargetSpec
from harness.model.records import Cause, Outcome, StageTimes

pytestmark = pytest.mark.unit

MS = 1_000_000
WORDS = "my order number is four five nine two"
PLAN = CallPlan(
    call_id="c1",
    index=0,
    due_ms=None,
    caller="x",
    persona=Persona("n", "p", "r", "a", "p"),
    patience=Patience("unlimited", 0.0, 1.0, 1),
    turns=(PlannedTurn("u1", 300), PlannedTurn("u2", 300)),
    target=TargetSpec("http://127.0.0.1/"),
    limits=CallLimits(greeting_timeout_ms=5000, answer_timeout_ms=4000, quiet_ms=900, call_timeout_ms=120_000),
)
SPOKEN = SimpleNamespace(
    transcript=WORDS,
    accent="british",
    native=True,
    noise="clean",
    snr_db=None,
    vocabulary="digits",
    duration_ms=3000,
    segments={"room": "office"},
    entities=("four two",),
)


class Caller:
    """Drives a conversation on a virtual clock and keeps what it did."""

    def __init__(self, plan=PLAN):
        self.talk = Conversation(plan, {"u1": SPOKEN, "u2": SPOKEN}, "opus")
        self.now = 1000 * MS
        self.did = self.talk.start(self.now)

    def after(self, ms, event, view=None):
        self.now += ms * MS
        actions = self.talk.handle(event, self.now, lambda: view or MediaView())
        self.did += actions
        return actions

    def onset(self, ms, at_ago=0, view=None):
        self.now += ms * MS
        return self.after(0, AgentOnset(self.now - at_ago * MS, self.now), view)

    def quiet(self, ms=1500):
        """The agent's last packet was `ms` after now; told 900 ms later."""
        stopped = self.now + ms * MS
        self.now = stopped + 900 * MS
        self.did += self.talk.handle(AgentStopped(stopped), self.now)

    def wait(self):
        """Let the clock run to the deadline."""
        assert self.talk.deadline_ns is not None
        self.now = max(self.now, self.talk.deadline_ns)
        actions = self.talk.expire(self.now)
        self.did += actions
        return actions

    def speak(self, ms=2000):
        """From the Speak action to the last voiced packet."""
        self.after(200, SpeechStarted("u", self.now + 200 * MS))
        self.after(ms, SpeechEnded("u", self.now + ms * MS))

    def of(self, kind):
        return [a for a in self.did if isinstance(a, kind)]

    @property
    def rows(self):
        return [a.record for a in self.of(TurnEnded)]

    @property
    def end(self):
        (end,) = self.of(HangUp)
        return end


def greeted(plan=PLAN):
    caller = Caller(plan)
    caller.onset(400, at_ago=60)
    caller.quiet()
    return caller


def test_two_turns_to_the_goal():
    caller = greeted()
    assert caller.talk.greeting_ms == 340
    for _ in range(2):
        assert [type(a) for a in caller.wait()] == [Speak, Milestone]
        caller.speak()
        caller.onset(860, at_ago=60)
        caller.quiet()
    assert caller.end == HangUp(Outcome.COMPLETED, Cause.NONE)
    assert [a.utterance_id for a in caller.of(Speak)] == ["u1", "u2"]
    assert [(r.turn, r.attempt, r.ttfb_ms, r.censored) for r in caller.rows] == [(1, 0, 800, False), (2, 0, 800, False)]
    assert all(r.agent_speech_ended_at_ns is not None for r in caller.rows)


def test_the_next_utterance_waits_for_the_agent_and_then_thinks():
    caller = greeted()
    stopped = caller.now - 900 * MS
    # 300 ms of thinking have passed within the 900 ms it took to be sure of silence.
    assert caller.talk.deadline_ns == max(caller.now, stopped + 300 * MS)
    caller.onset(0)
    assert caller.talk.state is State.LISTENING
    assert caller.of(Speak) == []


def test_no_greeting_and_no_answer_gives_censored_turns_a_repeat_and_a_hang_up():
    caller = Caller()
    caller.wait()
    caller.wait()
    caller.speak()
    caller.wait()
    caller.speak()
    caller.wait()
    assert caller.talk.greeting_ms is None
    assert [(r.turn, r.attempt, r.censored, r.waited_ms, r.ttfb_ms) for r in caller.rows] == [
        (1, 0, True, 4000, None),
        (1, 1, True, 4000, None),
    ]
    assert (caller.end.outcome, caller.end.cause) == (Outcome.DROPPED, Cause.NO_ANSWER)


def test_patience_runs_out_before_the_time_out_and_the_turn_is_censored_at_what_was_waited():
    caller = greeted(replace(PLAN, patience=Patience("normal", 1.0, 0.05, 1)))
    caller.wait()
    caller.speak()
    caller.wait()
    # The curve carries 0.05 at 2,000 ms.
    assert [(r.censored, r.waited_ms) for r in caller.rows] == [(True, 2000)]
    assert (caller.end.outcome, caller.end.cause) == (Outcome.DROPPED, Cause.PATIENCE_DEAD_AIR)


def test_slow_answers_add_up():
    caller = greeted(replace(PLAN, patience=Patience("normal", 1.0, 0.035, 1)))
    for _ in range(2):
        caller.wait()
        caller.speak()
        caller.onset(1200)
        if not caller.of(HangUp):
            caller.quiet()
    assert caller.end.cause is Cause.PATIENCE_SLOW_ANSWERS
    assert [r.ttfb_ms for r in caller.rows] == [1200, 1200]


def test_agent_that_starts_while_the_user_speaks_is_a_false_endpoint_and_its_next_onset_the_answer():
    caller = greeted()
    caller.wait()
    caller.after(200, SpeechStarted("u1", caller.now))
    caller.onset(500)
    caller.after(1500, SpeechEnded("u1", caller.now + 1500 * MS))
    caller.onset(700)
    caller.quiet()
    (row,) = caller.rows
    assert row.false_endpoint
    assert row.ttfb_ms == 700


def cut_in(caller, *, stops_after_end_ms):
    """The agent starts while the user speaks and falls silent `stops_after_end_ms` after the user's end."""
    caller.wait()
    caller.after(200, SpeechStarted("u1", caller.now))
    caller.onset(500)
    caller.after(1500, SpeechEnded("u1", caller.now + 1500 * MS))
    stopped = caller.now + stops_after_end_ms * MS
    caller.now = stopped + 900 * MS
    caller.did += caller.talk.handle(AgentStopped(stopped), caller.now)


def test_false_endpoint_without_a_later_answer_is_unanswered():
    caller = greeted(replace(PLAN, patience=Patience("unlimited", 0.0, 1.0, 0)))
    cut_in(caller, stops_after_end_ms=-300)
    caller.wait()
    (row,) = caller.rows
    assert (row.false_endpoint, row.censored, row.ttfb_ms, row.waited_ms) == (True, True, None, 4000)
    assert caller.end.cause is Cause.NO_ANSWER


def test_agent_that_cuts_in_and_speaks_on_has_answered_and_the_call_goes_on():
    caller = greeted()
    cut_in(caller, stops_after_end_ms=1200)
    (row,) = caller.rows
    assert (row.false_endpoint, row.censored, row.ttfb_ms) == (True, False, None)
    assert row.agent_speech_ended_at_ns is not None
    assert caller.talk.state is State.THINKING
    assert caller.talk.turns_answered == 1


def test_nobody_loses_patience_while_the_agent_speaks_over_them():
    caller = greeted(replace(PLAN, patience=Patience("impatient", 2.0, 0.01, 0)))
    caller.wait()
    caller.after(200, SpeechStarted("u1", caller.now))
    caller.onset(500)
    caller.after(1500, SpeechEnded("u1", caller.now + 1500 * MS))
    assert caller.talk.deadline_ns == 1000 * MS + 120_000 * MS


def test_an_answer_after_a_time_out_is_out_of_step_and_no_false_endpoint():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.wait()
    # The late answer to the first saying comes while the caller says it again.
    caller.after(200, SpeechStarted("u1", caller.now))
    caller.onset(300)
    caller.after(1500, SpeechEnded("u1", caller.now + 1500 * MS))
    caller.quiet(-400)
    caller.onset(500)
    caller.quiet()
    caller.wait()
    caller.speak()
    caller.onset(400)
    caller.quiet()
    assert [(r.turn, r.attempt, r.censored, r.out_of_step, r.false_endpoint) for r in caller.rows] == [
        (1, 0, True, False, False),
        (1, 1, False, True, False),
        (2, 0, False, True, False),
    ]


def test_onset_looked_back_into_the_users_speech_is_a_false_endpoint_not_a_negative_ttfb():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.onset(20, at_ago=60)
    assert caller.talk.state is State.AWAITING
    caller.onset(600)
    caller.quiet()
    (row,) = caller.rows
    assert row.false_endpoint
    assert row.ttfb_ms == 620


def test_side_channel_fills_the_row():
    caller = greeted()
    caller.after(0, TranscriptChannel("rtvi"))
    caller.wait()
    caller.after(0, UserTranscript("left over from before"))
    caller.talk.handle(UserTranscript("  "), caller.now)
    caller.speak()
    caller.after(300, UserTranscript("my order"))
    stages = StageTimes(stt_ms=100, source="turn-timing")
    caller.after(10, AgentStages(stages))
    caller.after(10, AgentText("Sure,", "output"))
    caller.after(10, AgentText("Sure,", "tts"))
    caller.after(10, AgentText("one moment.", "tts"))
    caller.onset(100, view=MediaView(5, 12.5))
    caller.quiet()
    (row,) = caller.rows
    assert row.transcript_channel == "rtvi"
    assert row.hypothesis == "left over from before my order"
    assert row.agent_text == "Sure, one moment."
    assert (row.tags, row.entities) == ({"room": "office"}, ("four two",))
    assert row.stages == stages
    assert (row.network_ms, row.lost_packets) == (12.5, 5)
    assert (row.reference, row.accent, row.vocabulary) == (WORDS, "british", "digits")


def test_a_merged_turn_replaces_its_first_transcript():
    caller = greeted()
    caller.wait()
    caller.speak()
    for text, segment in (("my order", 3), ("my order number", 3), ("is four", 4)):
        caller.after(100, UserTranscript(text, segment))
    caller.onset(100)
    caller.quiet()
    assert caller.rows[0].hypothesis == "my order number is four"


def test_hypothesis_is_none_where_nothing_was_returned():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.onset(500)
    caller.quiet()
    assert caller.rows[0].hypothesis is None
    assert caller.rows[0].transcript_channel is None


def test_a_sentence_on_its_way_keeps_the_caller_listening():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.onset(500)
    caller.after(10, AgentSpeaking(True))
    caller.quiet()
    assert caller.talk.state is State.LISTENING
    caller.after(400, AgentSpeaking(False))
    assert caller.talk.state is State.THINKING
    assert len(caller.rows) == 1


def test_a_sentence_behind_a_pause_is_heard_out_and_never_spoken_over():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.onset(500)
    caller.after(10, AgentSpeaking(True))
    caller.quiet()
    caller.onset(600)
    # Longer than one waits for a sentence that was announced and does not come.
    caller.now += SPEAKING_GRACE_NS + 1000 * MS
    assert caller.talk.deadline_ns > caller.now
    assert caller.talk.expire(caller.now) == []
    assert caller.talk.state is State.LISTENING
    caller.quiet(0)
    caller.after(10, AgentSpeaking(False))
    assert caller.talk.state is State.THINKING
    assert [(row.is_barge_in, row.yield_ms) for row in caller.rows] == [(False, None)]
    assert caller.talk.barge_ins == 0


def test_a_side_channel_that_never_says_stopped_does_not_hang_the_call():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.onset(500)
    caller.after(10, AgentSpeaking(True))
    caller.quiet()
    caller.wait()
    assert caller.talk.state is State.THINKING


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (Disconnected("connection closed"), Cause.AGENT_HUNG_UP),
        (RemoteBye(0), Cause.AGENT_HUNG_UP),
        (MediaLost(0), Cause.MEDIA_LOST),
    ],
)
def test_a_call_that_ends_under_a_waiting_turn_censors_it(event, cause):
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.after(700, event)
    assert [(r.censored, r.cut, r.waited_ms) for r in caller.rows] == [(True, False, 700)]
    assert (caller.end.outcome, caller.end.cause) == (Outcome.DROPPED, cause)
    assert caller.talk.handle(event, caller.now) == []


def test_a_turn_the_operator_cuts_is_in_no_ratio():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.did += caller.talk.interrupt(caller.now + 100 * MS, Outcome.INTERRUPTED, Cause.OPERATOR, "stop")
    (row,) = caller.rows
    assert (row.cut, row.censored) == (True, False)
    assert caller.end.outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize(("outcome", "cut"), [(None, False), (Outcome.INTERRUPTED, True), (Outcome.LOST, True)])
def test_a_turn_whose_speech_never_ended_is_cut_only_by_ourselves(outcome, cut):
    caller = greeted()
    caller.wait()
    caller.after(200, SpeechStarted("u1", caller.now))
    if outcome is None:
        caller.after(300, Disconnected("gone"))
    else:
        caller.did += caller.talk.interrupt(caller.now, outcome, Cause.OPERATOR, "")
    assert [(r.cut, r.censored, r.speech_ended_at_ns) for r in caller.rows] == [(cut, False, None)]


def test_the_call_time_out_ends_an_endless_agent():
    caller = greeted()
    caller.wait()
    caller.speak()
    caller.onset(500)
    caller.wait()
    assert caller.end.cause is Cause.CALL_TIMEOUT
    assert caller.now == 1000 * MS + 120_000 * MS


def test_misheard_turns_wear_patience_down():
    caller = greeted(replace(PLAN, patience=Patience("normal", 1.0, 0.09, 1)))
    caller.wait()
    caller.speak()
    caller.after(100, UserTranscript("completely different words"))
    caller.onset(300)
    caller.quiet()
    assert caller.end.cause is Cause.PATIENCE_MISHEARD


ACTING = replace(
    PLAN,
    expect_greeting=False,
    turns=(
        PlannedTurn("u1", 300, (PlannedAction(dtmf="12#"), PlannedAction(hold_ms=5_000))),
        PlannedTurn("u2", 300, (PlannedAction(hold_ms=2_000),)),
    ),
)


def test_a_caller_presses_keys_and_holds_before_it_speaks():
    caller = Caller(ACTING)
    began = caller.now
    assert caller.wait() == [Press("12#")]
    # 300 ms to think, 3 keys of 200 ms, to think again, then on hold.
    assert caller.wait() == []
    assert caller.wait() == [Hold(on=True)]
    assert (caller.now - began) / MS == 300 + 600 + 300
    assert caller.wait() == [Hold(on=False)]
    assert (caller.now - began) / MS == 300 + 600 + 300 + 5_000
    assert [type(a) for a in caller.wait()] == [Speak, Milestone]
    caller.speak()
    caller.onset(600)
    caller.quiet()
    assert caller.wait() == [Hold(on=True)]
    assert caller.wait() == [Hold(on=False)]
    assert [type(a) for a in caller.wait()] == [Speak, Milestone]


def test_what_the_agent_says_to_a_key_is_heard_out():
    caller = Caller(replace(ACTING, turns=(PlannedTurn("u1", 300, (PlannedAction(dtmf="5"),)),)))
    assert caller.wait() == [Press("5")]
    caller.onset(100)
    assert caller.wait() == []
    assert caller.talk.state is State.LISTENING
    caller.quiet(2_000)
    assert [type(a) for a in caller.wait()] == [Speak, Milestone]


def test_a_repeat_presses_no_key_again():
    caller = Caller(replace(ACTING, turns=(PlannedTurn("u1", 300, (PlannedAction(dtmf="5"),)),)))
    caller.wait()
    caller.wait()
    caller.wait()
    caller.speak()
    again = caller.wait()
    assert Speak("u1") in again
    assert not any(isinstance(action, Press) for action in again)


def test_a_lost_connection_names_its_own_cause():
    caller = Caller(ACTING)
    ended = caller.after(10, Disconnected("the connection was cut", Cause.SIP_TRANSPORT_LOST))
    assert ended == [HangUp(Outcome.DROPPED, Cause.SIP_TRANSPORT_LOST, "the connection was cut")]
