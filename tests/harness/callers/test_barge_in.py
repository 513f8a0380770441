"""A caller that speaks over the agent: when it begins, what its turns record, and how long the agent spoke on."""

from dataclasses import replace

import pytest
from test_conversation import MS, PLAN, Caller

from harness.callers.conversation import State
from harness.callers.exchange import Speak
from harness.media.events import SpeechEnded, SpeechStarted
from harness.media.onset import AgentStopped
from harness.model.plan import Misconduct

pytestmark = pytest.mark.unit


def storm(times=5, after_ms=500):
    return replace(PLAN, misconduct=Misconduct(barge_in_after_ms=after_ms, barge_ins=times))


def test_it_begins_so_long_after_the_onset_and_the_yield_is_recorded():
    caller = Caller(storm())
    caller.onset(400)
    assert caller.talk.deadline_ns == caller.now + 500 * MS
    (spoken, _milestone) = caller.wait()
    assert spoken == Speak("u1")
    began = caller.now + 200 * MS
    caller.after(200, SpeechStarted("u", began))
    # The agent's last audible packet 350 ms into the caller's words, told 900 ms later.
    caller.after(1250, AgentStopped(began + 350 * MS))
    caller.after(750, SpeechEnded("u", caller.now + 750 * MS))
    assert caller.talk.state is State.AWAITING
    caller.onset(800)
    caller.quiet()
    (row,) = caller.rows
    assert (row.is_barge_in, row.yield_ms) == (True, 350)
    assert row.ttfb_ms == 800
    assert not row.false_endpoint
    assert caller.talk.barge_ins == 1


def test_an_agent_that_speaks_on_has_not_answered_yet():
    caller = Caller(storm(times=1))
    caller.onset(400)
    caller.wait()
    caller.speak(1500)
    # Half a second and more behind the caller's end it still says what it was saying.
    caller.quiet(800)
    assert caller.talk.state is State.AWAITING
    caller.onset(100)
    caller.quiet()
    (row,) = caller.rows
    assert row.is_barge_in
    assert row.yield_ms > 1500
    assert not row.censored


def test_what_it_says_after_it_has_yielded_is_judged_as_ever():
    caller = Caller(storm(times=1))
    caller.onset(400)
    caller.wait()
    began = caller.now + 200 * MS
    caller.after(200, SpeechStarted("u", began))
    caller.after(1250, AgentStopped(began + 350 * MS))
    # It cuts in again before the caller's end, and goes on well past it: an early answer.
    caller.onset(100)
    caller.after(600, SpeechEnded("u", caller.now + 600 * MS))
    caller.quiet(900)
    (row,) = caller.rows
    assert (row.is_barge_in, row.yield_ms, row.censored, row.false_endpoint) == (True, 350, False, True)


def test_one_whose_answer_had_ended_did_not_yield():
    caller = Caller(storm(times=1))
    caller.onset(400)
    last = caller.now + 300 * MS
    caller.wait()
    caller.after(200, SpeechStarted("u", caller.now + 200 * MS))
    caller.after(500, AgentStopped(last))
    caller.after(900, SpeechEnded("u", caller.now + 900 * MS))
    caller.onset(600)
    caller.quiet()
    assert [(row.is_barge_in, row.yield_ms) for row in caller.rows] == [(True, None)]


def test_it_does_so_as_often_as_it_is_to_and_has_words_left():
    for times, expected in ((0, 0), (1, 1), (9, 2)):
        caller = Caller(storm(times))
        caller.onset(400)
        for _ in range(4):
            if not caller.talk._agent_is_speaking or caller.talk.state is not State.LISTENING:
                break
            before = caller.talk.barge_ins
            caller.wait()
            if caller.talk.barge_ins == before:
                break
            caller.after(100, AgentStopped(caller.now + 50 * MS))
            caller.speak(1500)
            caller.onset(700)
        assert caller.talk.barge_ins == expected
