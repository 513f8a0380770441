"""Recordings put together from shipped clips: known gaps, echo, noise, telephone coding; TTFB to 20 ms."""

import pytest
from constructed_call import call, leak, noisy, recording, ulaw

from harness.analyze.analyse import Settings, analyse
from harness.analyze.known_clips import KnownClips
from harness.analyze.turns import Entry
from harness.corpus.manifest import load_corpus

pytestmark = pytest.mark.unit

GAPS_MS = (100, 300, 800, 3000)


def errors(analysis, truth):
    """TTFB's error of each turn; the turns must be those that were put there."""
    turns = analysis.conversation.turns
    assert [turn.entry for turn in turns] == [Entry.ANSWERED] * len(truth)
    return [turn.ttfb_ms - (onset_ms - end_ms) for turn, (end_ms, onset_ms) in zip(turns, truth, strict=True)]


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize(
    ("to_caller", "to_agent"),
    [
        (None, None),
        ((20, -12), None),
        ((110, -20), None),
        ((250, -30), None),
        (None, (60, -14)),
        ((180, -15), (40, -20)),
    ],
)
def test_known_gaps_with_echo(rate, to_caller, to_agent):
    caller, agent, truth = call(GAPS_MS, rate)
    heard = [caller, agent]
    if to_caller:
        heard[0] = leak(caller, agent, *to_caller, rate)
    if to_agent:
        heard[1] = leak(agent, caller, *to_agent, rate)
    if rate == 8_000:
        heard = [ulaw(side) for side in heard]
    analysis = analyse(recording(*heard, rate))
    assert max(map(abs, errors(analysis, truth))) <= 20
    for found, put in ((analysis.leaks.caller, to_caller), (analysis.leaks.agent, to_agent)):
        assert (found is None) == (put is None)
        if put:
            assert found.delay_ms == pytest.approx(put[0], abs=1)
            assert -found.loss_db == pytest.approx(put[1], abs=1)


def test_utterances_of_the_corpus_in_noise_on_both_channels():
    rate = 16_000
    # A clip that is recognised ends where it is known to end.
    caller, agent, truth = call(GAPS_MS, rate, ends="manifest")
    clips = KnownClips(load_corpus(verify=False))
    heard = recording(noisy(leak(caller, agent, 60, -25, rate), 10, rate), noisy(agent, 10, rate, 1), rate)
    analysis = analyse(heard, Settings(clips=clips))
    assert max(map(abs, errors(analysis, truth))) <= 20
    assert {turn.end_from for turn in analysis.conversation.turns} == {"clip"}
    assert analysis.backgrounds.caller is not None


def test_utterances_of_no_corpus_in_noise_say_how_sure_their_ends_are():
    caller, agent, truth = call(GAPS_MS)
    analysis = analyse(recording(noisy(caller, 10, 16_000), agent, 16_000))
    off = errors(analysis, truth)
    within = [turn.ttfb_within_ms for turn in analysis.conversation.turns]
    assert all(isinstance(ms, float) for ms in within)
    assert sum(abs(error) <= ms for error, ms in zip(off, within, strict=True)) >= 3
    assert max(map(abs, off)) < 150


def test_greeting_and_both_sides_speech_are_told():
    caller, agent, truth = call((500,))
    told = analyse(recording(caller, agent, 16_000)).conversation
    assert told.greeting_ms == pytest.approx(400, abs=20)
    assert told.turns[0].onset_ms == pytest.approx(truth[0][1], abs=20)
    assert len(told.agent) == 2
    assert analyse(recording(caller, agent, 16_000)).leaks.caller is None
