import pytest

from harness.callers.exchange import AgentSpeaking, AgentStages, AgentText, TranscriptChannel, UserTranscript
from harness.callers.side_channel import RtviSideChannel
from harness.model.records import StageTimes
from harness.protocols import rtvi

pytestmark = pytest.mark.unit


def heard(*messages):
    side = RtviSideChannel()
    return [event for message in messages for event in side.events(message)]


def test_the_channel_is_announced_once():
    events = heard(rtvi.BotReady("1"), rtvi.UserTranscription("hello", True))
    assert events == [TranscriptChannel("rtvi"), UserTranscript("hello")]
    assert heard(rtvi.UserTranscription("hello", True))[0] == TranscriptChannel("rtvi")


def test_partial_transcripts_are_no_hypothesis():
    assert [e for e in heard(rtvi.UserTranscription("hel", False)) if isinstance(e, UserTranscript)] == []


def test_each_way_of_telling_the_agents_words_keeps_its_name():
    events = heard(
        rtvi.BotTtsText("a"), rtvi.BotTranscription("b"), rtvi.BotOutput("c"), rtvi.BotOutput("d", "s", False)
    )
    assert events == [AgentText("a", "tts"), AgentText("b", "transcription"), AgentText("c", "output")]


def test_speaking_and_interruption():
    events = heard(rtvi.BotStartedSpeaking(), rtvi.BotStoppedSpeaking(), rtvi.BotInterrupted())
    assert events == [AgentSpeaking(True), AgentSpeaking(False), AgentSpeaking(False)]


def test_metrics_of_a_turn_add_up_and_only_the_first_sentence_counts():
    events = heard(
        rtvi.Metrics((rtvi.ProcessorTime("WhisperSTTService#0", 0.2),)),
        rtvi.Metrics((rtvi.ProcessorTime("OpenAILLMService#0", 0.3),)),
        rtvi.Metrics((rtvi.ProcessorTime("KokoroTTSService#0", 0.1),)),
        rtvi.Metrics((rtvi.ProcessorTime("KokoroTTSService#0", 0.9),)),
    )
    assert events[-1] == AgentStages(StageTimes(stt_ms=200, llm_ms=300, tts_ms=100, source="rtvi-metrics"))


def test_turn_timing_outranks_metrics():
    timing = rtvi.TurnTimingMessage(1, 500, 100, 200, 50, 10, 80, 0)
    events = heard(timing, rtvi.Metrics((rtvi.ProcessorTime("TTS", 0.9),)))
    assert [type(e) for e in events] == [AgentStages]
    assert events[0].stages.endpointing_ms == 500
    assert events[0].stages.source == "turn-timing"
