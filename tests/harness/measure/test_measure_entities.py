"""Entities, right or wrong as a whole: by hand, and that a right one is never called wrong by where words fall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import make_turn

from harness.measure.alignment import align
from harness.measure.entities import find, kind_of, rate_of, worst_of
from harness.measure.wer import measure

pytestmark = pytest.mark.unit


def heard_of(reference, hypothesis, *named):
    found, missing = find(align([reference], [hypothesis])[0], named)
    return [(e.words, e.is_right) for e in found], missing


@pytest.mark.parametrize(
    ("reference", "hypothesis", "named", "expected"),
    [
        # Derived: every run of digits, however it is written.
        ("order four five nine two please", "Order 4592, please.", (), [("4 5 9 2", True)]),
        ("order four five nine two please", "order 4593 please", (), [("4 5 9 2", False)]),
        ("order four five nine two please", "order 45921 please", (), [("4 5 9 2", False)]),
        ("order four five nine two", "order 1 4592", (), [("4 5 9 2", False)]),
        ("order four five nine two please", "order 4592", (), [("4 5 9 2", True)]),
        # The word behind it became a figure of it.
        ("order four five nine two please", "order 45921", (), [("4 5 9 2", False)]),
        ("order four five nine two please", "order 452 please", (), [("4 5 9 2", False)]),
        ("order four five nine two please", "please order", (), [("4 5 9 2", False)]),
        ("order four five nine two please", "", (), [("4 5 9 2", False)]),
        ("it is zero nine five eight", "it is 0958", (), [("0 9 5 8", True)]),
        ("three point five percent", "3.5%", (), [("3 . 5", True)]),
        ("three point five percent", "35%", (), [("3 . 5", False)]),
        ("the one I ordered", "the one I ordered", (), []),
        ("oh really, wait a second", "what", (), []),
        ("on the twenty second of May", "on the 22nd of May", (), [("2 2", True)]),
        ("no number here", "no number here", (), []),
        # Named: those and no others; a filler inside or beside does no harm, a word inside does.
        ("Jonathan Reyes, room seven", "jonathan reyes room 8", ("Jonathan Reyes",), [("jonathan reyes", True)]),
        ("I am Jonathan Reyes", "i am jonathan um reyes", ("Jonathan Reyes",), [("jonathan reyes", True)]),
        ("I am Jonathan Reyes", "i am jonathan van reyes", ("Jonathan Reyes",), [("jonathan reyes", False)]),
        ("I am Jonathan Reyes", "i am jonathan jonathan reyes", ("Jonathan Reyes",), [("jonathan reyes", True)]),
        ("I am Jonathan Reyes", "i am john reyes", ("Jonathan Reyes",), [("jonathan reyes", False)]),
        # Two numbers side by side: what is right beside it does no harm.
        ("room four two five nine", "room 4 2 5 8", ("four two", "five nine"), [("4 2", True), ("5 9", False)]),
        # The same one twice is looked for twice.
        ("seven and seven", "seven and eight", ("seven", "seven"), [("7", True), ("7", False)]),
    ],
)  # fmt: skip
def test_entities_by_hand(reference, hypothesis, named, expected):
    assert heard_of(reference, hypothesis, *named) == (expected, 0)


def test_what_is_not_in_the_reference_is_counted_and_not_scored():
    assert heard_of("call me back", "call me back", "Okonkwo", "?!", "call") == ([("call", True)], 2)


@pytest.mark.parametrize(
    ("words", "kind"),
    [("4 5 9 2", "digits"), ("$ 4 5 . 2", "digits"), ("jonathan reyes", "names"), ("1 6 victoria road", "mixed")],
)
def test_kinds(words, kind):
    assert kind_of(words.split()) == kind


WORDS = st.lists(
    st.sampled_from(["alpha", "bravo", "order", "please", "Reyes", "uh", "um", "the", "five", "7", "42", "0958", "no"]),
    max_size=8,
)


@given(before=WORDS, entity=st.lists(st.sampled_from("123456789"), min_size=2, max_size=6), after=WORDS)
def test_a_number_heard_word_for_word_is_right_and_one_wrong_figure_makes_it_wrong(before, entity, after):
    said = " ".join([*before, "code", *entity, "thanks", *after])
    wrong = [*entity[:-1], str((int(entity[-1]) + 1) % 10)]
    number = " ".join(entity)
    assert (number, True) in heard_of(said, said, number)[0]
    # Said twice over, be it once in words, the other place may be the one that is meant.
    if " ".join(align([said], [said])[0].reference).count(number) == 1 and number not in " ".join(wrong):
        misheard = " ".join([*before, "code", *wrong, "thanks", *after])
        assert heard_of(said, misheard, number)[0][0][1] is False


def test_rate_has_wilsons_interval_and_the_worst_say_what_was_heard():
    found = [
        e for heard in ("4592", "4593", "4593", "") for e in find(align(["four five nine two"], [heard])[0], ())[0]
    ]
    rate = rate_of(found)
    assert (rate.n, rate.n_right, rate.accuracy) == (4, 1, 0.25)
    assert rate.ci95 == pytest.approx((0.0456, 0.6994), abs=1e-4)
    (worst,) = worst_of(found)
    assert (worst.words, worst.n_wrong, worst.n, worst.heard) == ("4 5 9 2", 3, 4, ("4 5 9 3", ""))
    assert rate_of([]).accuracy is None


def test_a_runs_entities_are_told_by_kind_and_by_the_tags_of_their_turns():
    turns = [
        make_turn(
            "c1",
            n,
            reference=said,
            hypothesis=heard,
            entities=named,
            transcript_channel="rtvi",
            tags={"domain": domain},
        )
        for n, (said, heard, named, domain) in enumerate(
            [
                ("it is four two", "it is 42", (), "numbers"),
                ("I am Ada Byron", "i am ada baron", ("Ada Byron", "Nobody"), "names"),
                ("on the first of May", "on the 1st of may", ("first of May",), "dates"),
            ],
            1,
        )
    ]
    result = measure(turns, None).entities
    assert result is not None
    assert (result.overall.n, result.overall.n_right, result.n_not_in_reference) == (3, 2, 1)
    rates = {(key, value): rate.accuracy for key, value, rate in result.by_segment}
    assert rates["entity", "digits"] == rates["entity", "mixed"] == 1.0
    assert rates["entity", "names"] == rates["domain", "names"] == 0.0
    assert [key for key, _, _ in result.by_segment][:3] == ["entity"] * 3
