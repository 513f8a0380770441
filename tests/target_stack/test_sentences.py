import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_stack.stages.sentences import SentenceSplitter, clipped, is_speakable

pytestmark = pytest.mark.unit


def split(text, size=1):
    splitter = SentenceSplitter()
    sentences = [s for start in range(0, len(text), size) for s in splitter.feed(text[start : start + size])]
    return [*sentences, *filter(None, [splitter.flush()])]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? ", ["One.", "Two!", "Three?"]),
        ("It costs 3.50 at shop.example today. Yes.", ["It costs 3.50 at shop.example today.", "Yes."]),
        ("Dr. Ng is in at 9 a.m. today. Good.", ["Dr. Ng is in at 9 a.m. today.", "Good."]),
        ('He said "wait." Then he left', ['He said "wait."', "Then he left"]),
        ("Really?! Yes...  Sure.", ["Really?!", "Yes...", "Sure."]),
        ("A line\nAnother", ["A line", "Another"]),
        ("J. Smith and I. Fine.", ["J. Smith and I.", "Fine."]),
        ("", []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_sentences_end_where_a_speaker_would_stop(text, sentences, size):
    assert split(text, size) == sentences


@given(st.text(alphabet='aI. !?\n"3', max_size=60), st.integers(1, 7))
def test_no_character_is_lost_whatever_the_pieces(text, size):
    assert "".join("".join(split(text, size)).split()) == "".join(text.split())


def test_a_sentence_is_given_before_the_next_one_ends():
    splitter = SentenceSplitter()
    assert splitter.feed("Of course. What") == ["Of course."]


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short enough.", 90, "short enough."),
        ("one clause that fits, and then a very long rest", 30, "one clause that fits."),
        ("words without any clause mark in them", 20, "words without any."),
        ("unbreakable" * 3, 10, "unbreakabl."),
    ],
)
def test_a_long_reply_is_cut_between_words(text, limit, expected):
    assert clipped(text, limit) == expected


@pytest.mark.parametrize(("text", "speakable"), [("...", False), ("", False), (" 42 ", False), ("Hi", True)])
def test_punctuation_alone_is_not_spoken(text, speakable):
    assert is_speakable(text) is speakable
