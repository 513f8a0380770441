"""A corpus's utterances in noise at 10 dB: ends, onsets and TTFB to 20 ms, whatever the noise, the band, the echo."""

from dataclasses import replace

import numpy as np
import pytest
from constructed_call import leak, noisy, put

from benchmarks.noisy_calls_of_corpus import GRID, RATES, SIDES, Bench, Case, failure, grid, outcomes, told
from harness.analyze.agent_side import Speech
from harness.analyze.analyse import Settings
from harness.analyze.caller_side import frame_levels_db
from harness.analyze.echo import without_leak
from harness.analyze.heard_clips import broken_off, with_clips
from harness.analyze.known_clips import KnownClips
from harness.corpus.manifest import default_corpus_dir, load_corpus

# Of the corpus every so manieth sentence's voices, so that few are decoded.
SOME = 6


@pytest.fixture(scope="module")
def few():
    corpus = load_corpus(verify=False)
    clean = [one for one in corpus.utterances.values() if one.base_id == one.id and one.duration_ms < 7_000]
    some = replace(corpus, utterances={one.id: one for one in clean[::SOME]})
    return Bench(some, default_corpus_dir() / "noise"), Settings(clips=KnownClips(some))


@pytest.fixture(scope="module")
def whole():
    corpus = load_corpus(verify=False)
    return Bench(corpus, default_corpus_dir() / "noise"), Settings(clips=KnownClips(corpus))


def all_hold(found):
    for one in found:
        if not one.holds:
            print(failure(one))
    return all(one.holds for one in found)


@pytest.mark.unit
@pytest.mark.parametrize(
    "case",
    [
        Case("babble", 8_000, "both", has_echo=True),
        Case("street", 16_000, "caller", has_echo=True),
        Case("speech-shaped", 16_000, "both", has_echo=False),
    ],
    ids=str,
)
def test_each_turn_is_true_to_20_ms(few, case):
    found = outcomes(few[0], case, few[1])
    assert len(found) == 4
    assert sum(one.truth.barges_in for one in found) == 1
    assert all_hold(found)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("noise", GRID)
def test_the_whole_grid(whole, noise):
    cases = grid([noise], RATES, calls=2, seed=1)
    assert len(cases) == 2 * len(RATES) * len(SIDES) * 2
    found = [one for case in cases for one in outcomes(whole[0], case, whole[1])]
    print(told(noise, found))
    assert all_hold(found)


@pytest.mark.unit
def test_a_clip_that_was_broken_off_is_known_by_its_beginning_and_not_by_its_end(few):
    rate = 16_000
    bench, settings = few
    clip = next(one for one in bench.clips if 3_500 < one.speech_end_ms - one.speech_start_ms < 5_000)
    until_ms = clip.speech_start_ms + 2_000
    channel = noisy(_alone(bench, clip, until_ms, rate), 10, rate)
    (said,) = settings.clips.search(channel.astype(np.int16), rate)
    assert said.utterance_id == clip.id
    assert not said.is_whole
    assert said.speech.start_ms == pytest.approx(1_000 + clip.speech_start_ms, abs=1)
    # To a piece of 100 ms; what is too faint to tell lies between.
    assert said.speech.end_ms - 100 <= 1_000 + until_ms <= said.broken_ms + 100
    stretch = Speech(1_000 + clip.speech_start_ms + 30, 1_000 + until_ms - 10)
    assert broken_off(said, [stretch]).end_ms == stretch.end_ms
    assert broken_off(said, []).end_ms == said.speech.end_ms


def _alone(bench, clip, until_ms, rate):
    samples = bench.samples(clip, rate)
    channel = np.zeros(9 * rate)
    put(channel, samples[: round(until_ms * rate / 1000)], 1_000, rate)
    return channel


@pytest.mark.unit
def test_nothing_is_lost_where_the_pieces_of_a_long_call_meet(few):
    rate = 8_000
    bench, settings = few
    clip = bench.clips[2]
    channel = noisy(_alone(bench, clip, clip.duration_ms, rate), 10, rate).astype(np.int16)
    said = settings.clips.search(np.tile(channel, 40), rate)
    lasts_ms = len(channel) * 1000 / rate
    assert len(said) == 40
    for number, one in enumerate(said):
        assert one.speech.start_ms == pytest.approx(number * lasts_ms + 1_000 + clip.speech_start_ms, abs=1)


@pytest.mark.unit
def test_what_a_corpus_has_not_stays_as_it_was_heard(few):
    # The clip that is said is none of those that are looked for.
    rate = 16_000
    bench, settings = few
    clip = bench.clips[3]
    others = replace(load_corpus(verify=False), utterances={one.id: one for one in bench.clips[4:12]})
    channel = noisy(_alone(bench, clip, clip.duration_ms, rate), 10, rate)
    assert [one.utterance_id for one in settings.clips.search(channel.astype(np.int16), rate)] == [clip.id]
    assert KnownClips(others).search(channel.astype(np.int16), rate) == []


@pytest.mark.unit
def test_beside_clips_only_what_is_as_loud_is_speech():
    rate = 16_000
    at = np.arange(8 * rate) / rate
    speaks = ((at >= 1) & (at < 3)) | ((at >= 5) & (at < 6))
    channel = noisy(8_000 * speaks * np.sin(2 * np.pi * 300 * at), 10, rate).astype(np.int16)
    heard = [Speech(900, 4_200), Speech(4_950, 6_050), Speech(6_500, 7_000)]
    clip = Speech(1_000, 3_000)
    assert with_clips(channel, rate, heard, [clip], [clip], is_noisy=True) == [clip, heard[1]]
    assert with_clips(channel, rate, heard, [], [], is_noisy=True) == heard
    # What the clip's file holds behind its speech is no turn, however loud.
    assert with_clips(channel, rate, heard, [clip], [Speech(500, 6_500)], is_noisy=True) == [clip]


@pytest.mark.unit
def test_where_an_echo_was_the_background_goes_on(few):
    rate = 16_000
    agent = _alone(few[0], few[0].clips[0], few[0].clips[0].duration_ms, rate)
    noise = np.random.default_rng(1).standard_normal(len(agent)) * 500
    left, found = without_leak(*(side.astype(np.int16) for side in (leak(noise, agent, 60, -14, rate), agent)), rate)
    assert found is not None
    levels = frame_levels_db(left, rate)
    assert np.percentile(levels, 2) > np.median(levels) - 6
