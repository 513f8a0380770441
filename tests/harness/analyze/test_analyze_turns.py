"""Turns from stretches of speech: pauses, barge-ins, false endpoints, censored turns, dead air."""

import pytest

from harness.analyze.agent_side import Speech
from harness.analyze.as_json import totals_json
from harness.analyze.totals import totals_of
from harness.analyze.turns import Entry, converse, group
from harness.analyze.words import totals_lines

pytestmark = pytest.mark.unit


def spans(*pairs):
    return [Speech(float(start), float(end)) for start, end in pairs]


def told(caller, agent, duration_ms=60_000):
    return converse(spans(*caller), spans(*agent), duration_ms)


def test_an_answered_turn_and_the_greeting():
    call = told([(3000, 5000)], [(200, 2500), (5800, 8000)])
    assert call.greeting_ms == 200
    assert [(t.entry, t.ttfb_ms) for t in call.turns] == [(Entry.ANSWERED, 800)]


def test_a_pause_without_the_agent_is_inside_a_turn_and_a_longer_one_ends_it():
    (turn,) = told([(1000, 2000), (3500, 4000)], [(4600, 6000)]).turns
    assert (turn.start_ms, turn.end_ms, turn.ttfb_ms) == (1000, 4000, 600)
    first, second = told([(1000, 2000), (4100, 5000)], [(5600, 6000)]).turns
    assert (first.entry, first.waited_ms) == (Entry.CENSORED, 2100)
    assert second.ttfb_ms == 600


def test_a_turn_that_the_recording_ends_is_censored_at_what_is_left():
    (turn,) = told([(1000, 2000)], [], 9000).turns
    assert (turn.entry, turn.waited_ms, turn.ttfb_ms) == (Entry.CENSORED, 7000, None)


def test_an_agent_that_cuts_into_a_pause_makes_a_false_endpoint():
    # The caller resumes half a second after the agent began, 1.2 s after its own last word.
    (turn,) = told([(1000, 2000), (3200, 4500)], [(2700, 3500), (5000, 7000)]).turns
    assert turn.false_endpoint
    assert (turn.entry, turn.end_ms) == (Entry.FALSE_ENDPOINT, 4500)
    assert turn.talk_over_ms == 300


def test_a_caller_who_speaks_into_an_answer_barges_in():
    first, second = told([(1000, 2000), (4000, 5000)], [(2500, 4300), (5600, 7000)]).turns
    assert (first.entry, first.ttfb_ms) == (Entry.ANSWERED, 500)
    assert (second.barge_in.yield_ms, second.barge_in.yielded) == (300, True)
    assert second.ttfb_ms == 600


def test_an_agent_that_speaks_on_did_not_yield():
    call = told([(1000, 2000), (4000, 4500)], [(2500, 9000)])
    barge_in = call.turns[1].barge_in
    assert (barge_in.yielded, barge_in.yield_ms) == (False, 5000)
    yields = totals_of([call]).yields
    assert (yields.observed, yields.censored) == ([], [5000])


def test_an_early_answer_has_no_ttfb():
    (turn,) = told([(1000, 3000)], [(2600, 5000)]).turns
    assert (turn.entry, turn.ttfb_ms, turn.false_endpoint) == (Entry.FALSE_ENDPOINT, None, True)


def test_what_is_said_behind_an_utterance_that_is_known_to_be_whole_is_a_turn_of_its_own():
    caller, agent = spans((1000, 2000), (2600, 4000)), spans((2300, 2900))
    assert group(caller, agent) == [caller]
    assert group(caller, agent, finished={caller[0]}) == [[caller[0]], [caller[1]]]
    # Nobody answered it: it goes on.
    assert group(caller, [], finished={caller[0]}) == [caller]


def test_dead_air_is_where_nobody_speaks():
    call = told([(1000, 2000)], [(6000, 8000)], 9000)
    assert [(s.start_ms, s.end_ms, s.after) for s in call.dead_air] == [(2000, 6000, "caller")]


def test_totals_count_censored_turns_in_every_percentile():
    call = told([(1000, 2000), (8000, 9000)], [(2500, 4000)], 12_000)
    totals = totals_of([call, call])
    assert (totals.n_calls, totals.n_turns, totals.ttfb.n) == (2, 4, 4)
    assert totals.ttfb.percentile(0.99).is_lower_bound
    assert totals.ttfb.response_ratio == 0.5


def test_totals_count_the_turns_that_are_not_known_to_20_ms():
    sure = Speech(1000.0, 2000.0, None, 15.0)
    unsure = Speech(4000.0, 5000.0, None, 15.0)
    call = converse([sure, unsure], [Speech(2500.0, 3500.0), Speech(5500.0, 7000.0, 18.0)], 8000)
    assert [t.ttfb_within_ms for t in call.turns] == [15.0, pytest.approx(23.4, abs=0.1)]
    totals = totals_of([call])
    assert (totals.ttfb.n, totals.n_unsure) == (2, 1)
    assert "1 of 2 not known to 20 ms" in "\n".join(totals_lines(totals))
    assert totals_json(totals)["ttfb_unsure"] == 1
