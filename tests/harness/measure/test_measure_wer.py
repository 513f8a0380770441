"""WER against counts made by hand; which turns are scored; and that nothing heard is not a perfect hearing."""

import pytest
from run_records import make_call, make_health, make_turn

from harness.measure.pooled import bootstrap
from harness.measure.run import find_answer_timeout_ms
from harness.measure.run import measure as measure_run
from harness.measure.wer import measure, pool, score
from harness.model.records import TurnRecord

pytestmark = pytest.mark.unit


def _said(reference: str, hypothesis: str | None, **fields: object) -> TurnRecord:
    return make_turn(reference=reference, hypothesis=hypothesis, **({"transcript_channel": "rtvi"} | fields))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        # (substitutions, deletions, insertions, reference words)
        ("book a table for two", "book a table for two", (0, 0, 0, 5)),
        ("cancel the order", "counsel the order", (1, 0, 0, 3)),
        ("please cancel the order", "cancel the order", (0, 1, 0, 4)),
        ("cancel the order", "cancel the big order", (0, 0, 1, 3)),
        ("red green blue", "red grey blue sky now", (1, 0, 2, 3)),
        ("red green blue", "", (0, 3, 0, 3)),
        # The normaliser's part: case, punctuation, contractions, spelling, fillers and numbers are not errors.
        ("I'd like the COLOUR, please.", "i would like the color please", (0, 0, 0, 6)),
        ("um the code is twenty three", "the code is 23", (0, 0, 0, 5)),
        # Digits are words of their own, however they are joined; one wrong digit is one error.
        ("four one seven two, nine zero three eight", "4172 9 0 3 8", (0, 0, 0, 8)),
        ("four one seven two", "4173", (1, 0, 0, 4)),
    ],
)
def test_edits_by_hand(reference: str, hypothesis: str, counts: tuple[int, int, int, int]) -> None:
    (one,) = score([_said(reference, hypothesis)])
    assert (one.substitutions, one.deletions, one.insertions, one.n_words) == counts


def test_rates_are_pooled_over_words_not_averaged_over_utterances() -> None:
    rate = pool(score([_said("yes", "no"), _said("one red car and one blue van", "one red car and one blue van")]))
    assert rate.n_words == 1 + len(score([_said("one red car and one blue van", "")])[0].edits[0].reference)
    assert rate.wer == 1 / rate.n_words


def test_without_any_hypothesis_wer_is_not_measured() -> None:
    silent = measure([_said("hello there", None, transcript_channel=None)], None)
    assert silent.overall is None
    assert "no transcript channel" in silent.reason
    assert measure([_said("hello there", None)], None).overall is None
    assert measure([], None).overall is None


@pytest.mark.parametrize(
    ("turn", "is_scored"),
    [
        # Answered without a transcript: the agent spoke, and had understood nothing.
        (_said("hello there", None), True),
        # Timed out, to within a tick.
        (_said("hello there", None, ttfb_ms=None, waited_ms=14_990.0), True),
        # Its call ended first: the transcript may have been on its way.
        (_said("hello there", None, ttfb_ms=None, waited_ms=2_000.0), False),
        (_said("hello there", None, transcript_channel=None), False),
        (_said("hello there", "hello there", cut=True), False),
        (_said("hello there", "hello", speech_ended_at_ns=None), False),
    ],
)
def test_which_turns_are_scored(turn: TurnRecord, is_scored: bool) -> None:
    result = measure([_said("good morning", "good morning"), turn], 15_000.0)
    assert result.overall is not None
    assert result.overall.n_utterances == 1 + is_scored
    assert result.overall.deletions == (2 if is_scored else 0)


def test_segments_hold_every_word_once() -> None:
    turns = [
        _said("red green blue", "red green blue", accent="british"),
        _said("red green blue", "red green", accent="indian", native=False, noise="babble", snr_db=5.0),
    ]
    result = measure(turns, None)
    rows = {(key, value): rate for key, value, rate in result.by_segment}
    assert rows["accent", "british"].wer == 0.0
    assert rows["accent", "indian"].wer == pytest.approx(1 / 3)
    assert rows["snr_db", "5"].n_words == 3
    assert rows["snr_db", "none"].n_words == 3
    assert rows["native", "false"].deletions == 1
    for key in {key for key, _ in rows}:
        assert sum(rate.n_words for (k, _), rate in rows.items() if k == key) == 6


def test_worst_words_say_what_was_heard_instead() -> None:
    result = measure([_said("cancel the order", "counsel the order"), _said("cancel the call", "the call")], None)
    worst = result.worst_words[0]
    assert (worst.word, worst.errors, worst.n, set(worst.heard)) == ("cancel", 2, 2, {"counsel", ""})


def test_bootstrap_is_determined_by_its_seed() -> None:
    errors, words = [0, 1, 0, 3, 0, 2, 1, 0], [10, 8, 12, 9, 7, 10, 11, 6]
    first = bootstrap(errors, words, seed=1)
    assert first == bootstrap(errors, words, seed=1)
    assert first != bootstrap(errors, words, seed=2)
    assert first is not None
    assert first[0] < sum(errors) / sum(words) < first[1]


def test_bootstrap_of_equal_utterances_has_no_width_and_of_few_is_refused() -> None:
    assert bootstrap([1] * 6, [10] * 6, seed=0) == pytest.approx((0.1, 0.1))
    assert bootstrap([1, 0, 2, 0], [5, 5, 5, 5], seed=0) is None


@pytest.mark.parametrize(
    ("scenario", "timeout_ms"),
    [({"limits": {"answer_timeout_s": 4}}, 4_000.0), ({"limits": {}}, None), ({}, None), ({"limits": None}, None)],
)
def test_the_answer_time_out_comes_from_the_scenario(scenario: dict[str, object], timeout_ms: float | None) -> None:
    assert find_answer_timeout_ms(scenario) == timeout_ms


def test_without_a_known_time_out_the_longest_wait_stands_for_it() -> None:
    waits = [_said("hello there", None, call_id=f"c{w}", ttfb_ms=None, waited_ms=w) for w in (2_000.0, 6_000.0)]
    run = measure_run([make_call()], [_said("good morning", "good morning"), *waits], [make_health()])
    assert (run.wer.n_unscored, run.wer.overall and run.wer.overall.deletions) == (1, 2)
