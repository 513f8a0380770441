"""The rules of the reference responder that need no socket: draws, clips, names, and what its agent does and tells."""

import numpy as np
import pytest
import reference_rtcp as rtcp

from harness.calibrate.agent import Agent
from harness.calibrate.answers import AnswerShelf
from harness.calibrate.behaviour import Behaviour, Draws
from harness.calibrate.rtp_calls import cnames
from harness.calibrate.utterances import write_corpus
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.codecs import CODECS, OPUS, PCMU
from harness.media.events import RemoteBye, SpeechStarted
from harness.media.hot.onset import MINIMUM_GATE_DBFS
from harness.media.onset import AgentOnset, AgentStopped, window_levels_dbfs
from harness.media.opus import MOST_SILENCE_BYTES
from harness.model.clock import NS_PER_MS

pytestmark = pytest.mark.unit

SECOND = 1000 * NS_PER_MS


class Line:
    """Stands in for the media loop's handle on a call."""

    def __init__(self):
        self.played = []

    def play(self, clip, not_before_ns=0):
        self.played.append((clip, not_before_ns))


def agent_with(behaviour, codec=OPUS):
    line, told, gone = Line(), [], []
    agent = Agent(
        "c1", codec, behaviour, Draws(behaviour, "c1"), AnswerShelf(behaviour), told.append, lambda: gone.append(1)
    )
    agent.begin(line)
    return agent, line, told, gone


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.name)
def test_every_packet_of_what_callers_say_is_voiced_and_nothing_follows(tmp_path, codec):
    store = None
    for name in write_corpus(tmp_path, codec):
        store = store or ClipStore(load_corpus(tmp_path))
        clip = store.clip(name, codec)
        assert (clip.first_voiced_packet, clip.last_voiced_packet) == (0, len(clip.payloads) - 1)
        # Over the gate up to the last window: no listener can put the end elsewhere.
        assert min(window_levels_dbfs(clip.read_samples(), codec.sample_rate)) > MINIMUM_GATE_DBFS + 8
        if codec is OPUS:
            assert min(map(len, clip.payloads)) > MOST_SILENCE_BYTES


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.name)
@pytest.mark.parametrize("silence", ["packets", "comfort-noise"])
def test_an_answer_opens_with_whole_packets_of_silence_and_then_is_voice(codec, silence):
    shelf = AnswerShelf(Behaviour(silence=silence, answer_ms=400))
    clip = shelf.answer(codec, 7)
    assert (clip.first_voiced_packet, clip.last_voiced_packet) == (7, len(clip.payloads) - 1)
    assert shelf.answer(codec, 7) is clip
    voice = shelf.answer(codec, 0)
    assert clip.payloads[7:] == tuple(voice.payloads)
    if silence == "packets":
        assert set(clip.payloads[:7]) == {codec.silence}
    else:
        noise = shelf.background(codec)
        assert clip.payloads[:7] == noise.payloads[:7]
        level = 20 * np.log10(np.sqrt(np.mean(noise.read_samples().astype(float) ** 2)) / 32768)
        assert level == pytest.approx(-60, abs=0.3)


def test_draws_are_the_seeds_and_the_names():
    behaviour = Behaviour(delay_ms=(300, 2000), leading_silence_ms=(0, 600), seed=5)
    first = [Draws(behaviour, "a").answer(0) for _ in range(2)]
    assert first[0] == first[1]
    assert Draws(behaviour, "b").answer(0) != first[0]
    draws = Draws(behaviour, "a")
    for _ in range(200):
        planned = draws.answer(SECOND)
        assert 300 <= planned.delay_ms <= 2000
        assert 0 <= planned.leading_silence_ms <= 600
        start_ms = (planned.not_before_ns - SECOND) / NS_PER_MS
        # The first voiced packet is the due one, give or take half a tick; the first packet comes after the hangover.
        assert start_ms + planned.leading_silence_ms + 10 == pytest.approx(planned.delay_ms, abs=0.01)
        assert start_ms >= 160


def test_loss_on_purpose_is_drawn_for_our_own_packets():
    assert Draws(Behaviour(), "a").impairment() is None
    impairment = Draws(Behaviour(loss_ratio=0.05), "a").impairment()
    assert impairment.loss_ratio == 0.05
    assert impairment != Draws(Behaviour(loss_ratio=0.05), "b").impairment()


def test_the_truth_is_when_the_last_voice_arrived_and_when_the_first_was_sent():
    agent, line, told, _ = agent_with(Behaviour(greeting_ms=0, delay_ms=(500, 500)))
    agent.on_event(AgentOnset(1 * SECOND, 1 * SECOND))
    agent.on_event(AgentStopped(2 * SECOND))
    ((clip, not_before_ns),) = line.played
    assert (clip.first_voiced_packet, not_before_ns) == (0, 2 * SECOND + 490 * NS_PER_MS)
    assert told == []
    agent.on_event(SpeechStarted("answer", 2 * SECOND + 507 * NS_PER_MS))
    (truth,) = told
    assert (truth.call, truth.turn, truth.ttfb_ms, truth.planned_delay_ms) == ("c1", 1, 507.0, 500.0)


def test_a_greeting_is_no_answer_and_a_mute_agent_gives_none():
    agent, line, told, _ = agent_with(Behaviour())
    assert [clip.utterance_id for clip, _ in line.played] == ["greeting"]
    agent.on_event(SpeechStarted("greeting", SECOND))
    assert told == []
    agent, line, _, _ = agent_with(Behaviour(mute=True))
    agent.on_event(AgentStopped(SECOND))
    assert line.played == []


def test_a_caller_that_says_goodbye_is_let_go():
    agent, _, _, gone = agent_with(Behaviour())
    agent.on_event(RemoteBye(SECOND))
    assert gone == [1]


def test_only_opus_can_be_heard_by_size():
    assert agent_with(Behaviour())[0].hears_by_size
    assert not agent_with(Behaviour(), PCMU)[0].hears_by_size
    assert not agent_with(Behaviour(hear="level"))[0].hears_by_size


def test_a_call_without_signalling_is_named_by_its_rtcp():
    report = rtcp.pack_sender_report(0xABCD, 0, 0, 1, 160, [], "s0-0001")
    assert cnames(report) == {0xABCD: "s0-0001"}
    for length in range(len(report)):
        assert cnames(report[:length]) in ({}, {0xABCD: "s0-0001"})
    assert cnames(b"\x80\xca\xff\xff" + bytes(8)) == {}
