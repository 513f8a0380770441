"""WER against jiwer itself on the same normalised text, in total and by segment; and segments pool to the whole."""

from collections import defaultdict

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import make_call, make_turn

from harness.measure.load_level import level_of, with_load
from harness.measure.normaliser import normalise
from harness.measure.run import find_sampling
from harness.measure.sampling import Sampling, draw
from harness.measure.segments import turn_tags
from harness.measure.wer import measure

pytestmark = pytest.mark.unit

SAID = "the one four five 4592 0958 Reyes o'clock I'd uh $20 naïve Ünal 五 colour -- 3.5 % ½ '"
WORD = st.one_of(st.sampled_from(SAID.split(" ")), st.text(min_size=0, max_size=6))
TEXT = st.lists(WORD, max_size=9).map(" ".join)
TURNS = st.lists(
    st.tuples(TEXT, TEXT, st.sampled_from(["british", "indian"]), st.booleans(), st.sampled_from([None, 0.0, 15.0]),
              st.sampled_from(["office", "none"]), st.integers(0, 4)),
    min_size=1, max_size=12,
)  # fmt: skip


def turns_of(rows):
    return [
        make_turn(
            f"c{i}", reference=reference, hypothesis=hypothesis, accent=accent, native=native, snr_db=snr_db,
            transcript_channel="rtvi", utterance_id=f"u{clip}", tags={"room": room, "mood": f"m{clip}"},
        )
        for i, (reference, hypothesis, accent, native, snr_db, room, clip) in enumerate(rows)
    ]  # fmt: skip


def jiwers(turns):
    return jiwer.wer([normalise(t.reference) for t in turns], [normalise(t.hypothesis) for t in turns])


def check(turns, result):
    """The run's WER and each segment's are jiwer's; each key's segments add up to the turns that have the key."""
    sums = defaultdict(lambda: [0, 0, 0, 0, 0])
    for key, value, rate in [("", "", result.overall), *result.by_segment]:
        chosen = [t for t in turns if not key or turn_tags(t).get(key) == value]
        assert rate.n_utterances == len(chosen)
        # Where there is no reference word there is no rate, and jiwer's is none of ours.
        assert rate.n_words == sum(len(normalise(t.reference).split()) for t in chosen)
        if rate.n_words:
            assert rate.wer == pytest.approx(jiwers(chosen), abs=1e-12)
        else:
            assert rate.wer is None
        sums[key] = [
            a + b
            for a, b in zip(
                sums[key],
                (rate.n_utterances, rate.n_words, rate.substitutions, rate.deletions, rate.insertions),
                strict=True,
            )
        ]
    whole = sums.pop("")
    for key, told in sums.items():
        # A key that not every turn has holds those that have it.
        if all(key in turn_tags(t) for t in turns):
            assert told == whole, key
    return sums.keys()


@settings(max_examples=60, deadline=None)
@given(TURNS)
def test_wer_is_jiwers_for_every_segment_and_segments_pool_to_the_whole(rows):
    turns = turns_of(rows)
    keys = check(turns, measure(turns, None))
    assert {"accent", "native", "snr_db", "codec", "length"} <= keys


@settings(max_examples=30, deadline=None)
@given(TURNS, st.integers(0, 9))
def test_records_in_another_order_give_the_same_rates(rows, seed):
    turns = turns_of(rows)
    first, second = measure(turns, None, seed), measure(turns[::-1], None, seed)
    pairs = zip(first.by_segment, second.by_segment, strict=True)
    for (key, value, one), (key_2, value_2, other) in pairs:
        assert (key, value, one.wer, one.n_words) == (key_2, value_2, other.wer, other.n_words)


def test_the_interval_draws_utterances_with_all_their_sayings():
    # One clip of ten is always misheard. Said a hundred times each they tell no more than said once.
    rows = [("red green blue sky", "red green blue sky" if clip else "bread", "british", True, None, "none", clip)
            for clip in range(10)]  # fmt: skip
    once, often = (measure(turns_of(rows * times), None).overall for times in (1, 100))
    assert once is not None
    assert often is not None
    assert (once.n_utterances, often.n_utterances, once.n_clips, often.n_clips) == (10, 1000, 10, 10)
    assert once.ci95 == often.ci95
    assert once.ci95[1] > 0.2


def test_a_long_run_is_scored_on_a_sample_that_stays_the_same():
    turns = turns_of([("red green", "red", "british", True, None, "none", n % 30) for n in range(400)])
    result = measure(turns, None, seed=3, sampling=Sampling(at_most=100))
    assert (len(result.scored), result.n_scorable, result.is_sample) == (100, 400, True)
    assert result.overall is not None
    assert result.overall.n_utterances == 100
    again = measure(turns[::-1], None, seed=3, sampling=Sampling(at_most=100))
    assert {s.turn.call_id for s in again.scored} == {s.turn.call_id for s in result.scored}
    other = measure(turns, None, seed=4, sampling=Sampling(at_most=100))
    assert {s.turn.call_id for s in other.scored} != {s.turn.call_id for s in result.scored}
    assert measure(turns, None).is_sample is False


@pytest.mark.parametrize(
    ("scenario", "sampling"),
    [
        ({}, Sampling()),
        ({"wer": {"share": 0.5, "at_most": 10}}, Sampling(0.5, 10)),
        # As damaged run.json files have it: the default.
        ({"wer": None}, Sampling()),
        ({"wer": {"share": "half", "at_most": -1}}, Sampling()),
        ({"wer": {"share": 2, "at_most": True}}, Sampling()),
    ],
)
def test_the_sample_comes_from_the_scenario(scenario, sampling):
    assert find_sampling(scenario) == sampling


def test_a_share_is_drawn_and_a_larger_one_holds_it():
    items = list(range(5_000))
    tenth, third = (draw(items, lambda i: i, Sampling(share=share), 1) for share in (0.1, 0.3))
    assert 400 < len(tenth) < 600
    assert set(tenth) < set(third)
    assert tenth == sorted(tenth)
    assert len(draw(items, lambda i: i, Sampling(0.3, 200), 1)) == 200


@pytest.mark.parametrize(
    ("n", "level"),
    [(1, "1"), (2, "2-4"), (4, "2-4"), (5, "5-9"), (10, "10-19"), (49, "20-49"), (50, "50-99"), (999, "500-999"),
     (1_000, "1000-1999")],
)  # fmt: skip
def test_load_levels(n, level):
    assert level_of(n) == level


def test_a_turn_is_tagged_with_the_calls_that_were_up_when_its_user_stopped():
    second = 1_000_000_000
    calls = [make_call(f"c{i}", connected_at_ns=i * second, ended_at_ns=(i + 10) * second) for i in range(5)]
    turns = [make_turn("c0", speech_ended_at_ns=at * second) for at in (0, 1, 4, 12, 40)]
    turns += [make_turn("c0", speech_ended_at_ns=None), make_turn("c0", tags={"load": "mine"})]
    levels = [t.tags.get("load") for t in with_load(turns, calls)]
    assert levels == ["1", "2-4", "5-9", "2-4", None, None, "mine"]
