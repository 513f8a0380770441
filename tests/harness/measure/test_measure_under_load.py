"""WER under load: pairs by hand, against a known change, and what has no partner is counted and in no figure."""

import pytest
from run_records import make_turn

from harness.measure.paired import difference, pair_of
from harness.measure.under_load import compare
from harness.measure.wer import measure, score

pytestmark = pytest.mark.unit

WORDS = "red green blue white black"


def turns_of(lost, *, times=1, accent="british", first=0, load="1"):
    """A turn an utterance, `lost[i]` words of it not heard; each said `times` times."""
    return [
        make_turn(
            f"c{saying}", i + 1, utterance_id=f"u{first + i}", reference=WORDS, accent=accent,
            hypothesis=" ".join(WORDS.split()[n:]), transcript_channel="rtvi", tags={"load": load},
        )
        for saying in range(times)
        for i, n in enumerate(lost)
    ]  # fmt: skip


def compared(idle, loaded):
    return compare(measure(idle, None), measure(loaded, None), seed=1)


def test_a_known_change_is_found_with_an_interval_that_holds_it():
    found = compared(turns_of([0, 1, 2, 0, 1, 2]), turns_of([1, 2, 3, 1, 2, 3]))
    change = found.overall
    assert (change.n_pairs, change.n_words) == (6, 30)
    assert (change.first, change.second) == (pytest.approx(0.2), pytest.approx(0.4))
    assert change.value == pytest.approx(0.2)
    # Every pair lost one word more: pairing leaves no doubt, though the utterances differ widely.
    assert change.ci95 == pytest.approx((0.2, 0.2))
    assert change.is_shown
    assert [one.utterance_id for one in found.worst] == ["u0", "u1", "u2", "u3", "u4", "u5"]


def test_repeats_count_as_their_mean_and_not_as_more_pairs():
    once, often = (
        compared(turns_of([0, 0, 1, 1, 2]), turns_of([1, 0, 2, 0, 3], times=times)).overall for times in (1, 40)
    )
    assert (once.n_pairs, once.value, once.ci95) == (often.n_pairs, often.value, often.ci95)
    # Two sayings of one utterance, one of them lost as a whole: half its words.
    idle = turns_of([0])
    loaded = [*turns_of([0]), *turns_of([5])]
    assert compared(idle, loaded).overall.value == pytest.approx(0.5)


def test_no_change_and_too_few_pairs_show_nothing():
    same = compared(turns_of([0, 1, 2, 3, 1]), turns_of([0, 1, 2, 3, 1])).overall
    assert (same.value, same.is_shown, same.ci95) == (0.0, False, (0.0, 0.0))
    few = compared(turns_of([0, 0]), turns_of([5, 5])).overall
    assert (few.value, few.ci95, few.is_shown) == (1.0, None, False)


def test_what_has_no_partner_is_counted_and_in_no_figure():
    idle = [*turns_of([0, 0]), *turns_of([5], first=7)]
    fields = {"reference": "quite other words", "hypothesis": "", "transcript_channel": "rtvi"}
    other = make_turn("c1", 1, utterance_id="u1", **fields)
    loaded = [*turns_of([1]), other, *turns_of([5, 5], first=8)]
    found = compared(idle, loaded)
    assert (found.only_idle, found.only_loaded, found.other_words) == (("u7",), ("u8", "u9"), ("u1",))
    assert (found.overall.n_pairs, found.overall.value) == (1, pytest.approx(0.2))
    assert compare(measure([], None), measure(idle, None)) is None


def test_segments_hold_what_both_runs_have_in_common_and_pool_to_the_whole():
    idle = [*turns_of([0] * 5), *turns_of([1] * 5, accent="indian", first=5)]
    loaded = [*turns_of([0] * 5, load="20-49"), *turns_of([3] * 5, accent="indian", first=5, load="20-49")]
    found = compared(idle, loaded)
    rows = {(key, value): change for key, value, change in found.by_segment}
    assert rows["accent", "british"].value == 0.0
    assert rows["accent", "indian"].value == pytest.approx(0.4)
    assert not [key for key, _ in rows if key in {"load", "caller", "target"}]
    for key in {key for key, _ in rows}:
        parts = [change for (k, _), change in rows.items() if k == key]
        assert sum(p.n_words for p in parts) == found.overall.n_words
        assert sum(p.value * p.n_words for p in parts) == pytest.approx(found.overall.value * found.overall.n_words)


def test_groups_of_pairs_are_drawn_together():
    # Ten pairs of five sentences: as many draws as sentences.
    (good,) = score(turns_of([0]))
    (bad,) = score(turns_of([5]))
    pairs = [pair_of(group, [good], [bad if group == 0 else good]) for group in range(5) for _ in range(2)]
    change = difference(pairs)
    assert (change.n_pairs, change.n_groups) == (10, 5)
    assert change.ci95[0] == 0.0
    assert change.ci95[1] == pytest.approx(0.6)
