"""The carrier's playout buffer in virtual time: what is heard when, marks, clears."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.protocols.media_streams.playout import MOST_MARKS, MOST_PIECES, Playout

pytestmark = pytest.mark.unit


def heard(playout, now):
    return [(h.piece.content, h.from_ns, h.until_ns) for h in playout.heard(now)]


def test_a_burst_is_heard_at_its_own_pace_from_its_arrival_on():
    playout = Playout()
    playout.arrive("a", 100, 1000)
    playout.arrive("b", 50, 1001)
    assert heard(playout, 1020) == [("a", 1000, 1020)]
    assert heard(playout, 1120) == [("a", 1020, 1100), ("b", 1100, 1120)]
    assert heard(playout, 1120) == []
    assert heard(playout, 2000) == [("b", 1120, 1150)]
    assert (playout.ends_at_ns, playout.longest_ns) == (1150, 149)


def test_a_buffer_that_ran_dry_begins_anew_at_the_next_arrival():
    playout = Playout()
    assert playout.dry_ns(900) == 0
    playout.arrive("a", 100, 1000)
    assert (playout.dry_ns(1100), playout.dry_ns(1300)) == (0, 200)
    playout.arrive("b", 100, 1300)
    assert heard(playout, 9999) == [("a", 1000, 1100), ("b", 1300, 1400)]


def test_marks_are_reached_when_all_before_them_was_heard():
    playout = Playout()
    playout.mark("at once", 500)
    playout.arrive("a", 100, 1000)
    playout.mark("behind a", 1010)
    playout.arrive("b", 100, 1020)
    playout.mark("behind b", 1030)
    assert [m.name for m in playout.marks_reached(999)] == ["at once"]
    assert playout.marks_reached(1099) == []
    assert [(m.name, m.at_ns) for m in playout.marks_reached(5000)] == [("behind a", 1100), ("behind b", 1200)]


def test_a_clear_drops_what_was_not_heard_and_gives_the_marks_back():
    playout = Playout()
    playout.arrive("a", 100, 1000)
    playout.mark("a", 1000)
    playout.arrive("b", 100, 1000)
    playout.mark("b", 1000)
    playout.arrive("c", 100, 1000)
    assert playout.clear(1150) == (["b"], 150)
    assert heard(playout, 9999) == [("a", 1000, 1100), ("b", 1100, 1150)]
    assert [m.name for m in playout.marks_reached(9999)] == ["a"]
    assert playout.clear(9999) == ([], 0)
    playout.arrive("d", 10, 10_000)
    assert heard(playout, 20_000) == [("d", 10_000, 10_010)]


def test_marks_can_be_forgotten():
    playout = Playout()
    playout.arrive("a", 100, 1000)
    playout.mark("a", 1000)
    playout.forget_marks()
    assert playout.marks_reached(9999) == []


EVENTS = st.lists(
    st.tuples(st.sampled_from(["arrive", "mark", "clear", "listen"]), st.integers(0, 300), st.integers(1, 400)),
    max_size=40,
)


@given(EVENTS)
def test_all_audio_is_heard_once_in_order_or_flushed(events):
    playout, now, arrived, flushed, names, told = Playout(), 1000, 0, 0, 0, 0
    spans = []
    for kind, wait, length in events:
        now += wait
        if kind == "arrive":
            playout.arrive(length, length, now)
            arrived += length
        elif kind == "mark":
            playout.mark("m", now)
            names += 1
        elif kind == "clear":
            spans += heard(playout, now)
            told += len(playout.marks_reached(now))
            unreached, dropped = playout.clear(now)
            flushed += dropped
            told += len(unreached)
        else:
            spans += heard(playout, now)
    spans += heard(playout, now + 10**6)
    told += len(playout.marks_reached(now + 10**6))
    assert told == names
    assert sum(until - since for _, since, until in spans) + flushed == arrived
    for (_, _, before), (_, since, _) in itertools.pairwise(spans):
        assert since >= before


def test_a_full_buffer_takes_no_more_until_some_was_heard():
    playout, minute = Playout(), 60 * 10**9
    taken = [playout.arrive("a", minute, 0) for _ in range(40)]
    assert taken == [True] * 30 + [False] * 10
    assert playout.ends_at_ns == playout.longest_ns == 30 * minute
    playout.heard(minute)
    assert playout.arrive("b", minute, minute)


def test_a_buffer_of_nothing_and_marks_have_an_end_too():
    playout = Playout()
    playout.arrive("speech", 10**9, 0)
    assert [playout.arrive("", 0, 0) for _ in range(MOST_PIECES + 5)].count(False) == 6
    assert [playout.mark("m", 0) for _ in range(MOST_MARKS + 5)].count(False) == 5
    playout.clear(0)
    assert playout.arrive("new", 1, 0)
    assert playout.mark("new", 0)
