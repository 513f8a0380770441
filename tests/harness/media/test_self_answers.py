"""Planted echo is found with its delay and gain, its answers are counted, and what is no echo is left alone."""

import numpy as np
import pytest

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.self_answers import self_answers

pytestmark = pytest.mark.unit

RATE = 8_000
SECONDS = 24


@pytest.fixture(scope="module")
def speech():
    """Six clean utterances of different people, at RATE."""
    clean = [u for u in load_corpus().utterances.values() if u.is_clean and 2_000 < u.duration_ms < 4_000]
    return [read_pcm(one, RATE)[: 3 * RATE] for one in clean[:: max(1, len(clean) // 6)][:6]]


def side(*pieces):
    """Return a channel of SECONDS with each (start in s, samples) laid down."""
    samples = np.zeros(SECONDS * RATE, np.int32)
    for at_s, piece in pieces:
        start = int(at_s * RATE)
        room = samples[start : start + len(piece)]
        room += piece[: len(room)]
    return np.clip(samples, -32768, 32767).astype(np.int16)


def quieter(piece, gain_db):
    return (piece * 10 ** (gain_db / 20)).astype(np.int32)


def echoed(agent, delay_ms, gain_db, noise=20):
    """Return a caller's side with nothing but the agent's, later and quieter, and some noise of a line."""
    late = np.zeros(len(agent), np.int32)
    steps = delay_ms * RATE // 1000
    late[steps:] = agent[:-steps]
    hum = np.random.default_rng(1).normal(0, noise, len(agent))
    return np.clip(quieter(late, gain_db) + hum, -32768, 32767).astype(np.int16)


@pytest.mark.parametrize(("delay_ms", "gain_db"), [(60, 0), (200, -6), (800, -12), (2_000, 3)])
def test_an_echo_is_found_with_its_delay_and_gain(speech, delay_ms, gain_db):
    agent = side((0.5, speech[0]), (8, speech[1]), (16, speech[2]))
    found = self_answers(echoed(agent, delay_ms, gain_db), agent, RATE, [], None)
    assert found.copies > 0.9 * found.pieces > 9
    assert found.delay_ms == pytest.approx(delay_ms, abs=3)
    assert found.gain_db == pytest.approx(gain_db, abs=1)


def test_what_follows_an_echo_without_a_word_of_the_callers_is_an_answer_to_itself(speech):
    agent = side((0.5, speech[0]), (8, speech[1]), (16, speech[2]))
    found = self_answers(echoed(agent, 200, -6), agent, RATE, [], None)
    assert found.self_answers == 2
    assert found.first_ms == pytest.approx(8_000, abs=400)
    assert not found.transcripts


def test_where_the_caller_spoke_itself_the_answer_is_the_callers(speech):
    agent = side((0.5, speech[0]), (8, speech[1]), (16, speech[2]))
    caller = side((5, speech[3]), (13, speech[4])) + echoed(agent, 200, -6)
    clips = [(4_900, 8_000), (12_900, 16_000)]
    found = self_answers(caller, agent, RATE, clips, None)
    assert found.copies > 0
    assert found.self_answers == 0


def test_an_agent_that_tells_what_it_understands_answers_itself_only_where_it_understood_something(speech):
    agent = side((0.5, speech[0]), (8, speech[1]), (16, speech[2]))
    caller = echoed(agent, 200, -6)
    assert self_answers(caller, agent, RATE, [], [500.0 + len(speech[0]) * 1000 / RATE]).self_answers == 1
    told_of_nothing = self_answers(caller, agent, RATE, [], [23_900.0])
    assert (told_of_nothing.self_answers, told_of_nothing.transcripts) == (0, True)


@pytest.mark.parametrize(("pause_s", "answers"), [(0.3, 0), (0.45, 0), (0.75, 1), (2.0, 1)])
def test_two_sentences_of_one_answer_are_no_answer_to_the_first(speech, pause_s, answers):
    loud = np.flatnonzero(np.abs(speech[0]) > 300)
    first = speech[0][loud[0] : loud[-1]]
    second = speech[1][np.flatnonzero(np.abs(speech[1]) > 300)[0] :]
    agent = side((0.5, first), (0.5 + len(first) / RATE + pause_s, second))
    assert self_answers(echoed(agent, 200, -6), agent, RATE, [], None).self_answers == answers


def test_other_speech_and_noise_on_the_callers_side_are_no_echo(speech):
    agent = side((0.5, speech[0]), (8, speech[1]), (16, speech[2]))
    loud = np.random.default_rng(2).normal(0, 900, len(agent)).astype(np.int32)
    for caller in (side((1, speech[3]), (8.5, speech[4]), (17, speech[5])), np.clip(loud, -32768, 32767)):
        found = self_answers(caller.astype(np.int16), agent, RATE, [], None)
        assert found.pieces > 9
        assert found.copies <= 0.1 * found.pieces
        assert found.self_answers == 0


def test_a_call_without_anything_has_nothing_to_tell():
    silent = np.zeros(RATE, np.int16)
    found = self_answers(silent, silent, RATE, [], None)
    assert (found.pieces, found.copies, found.delay_ms, found.self_answers) == (0, 0, None, 0)
    assert self_answers(silent[:0], silent[:0], RATE, [], None).pieces == 0
