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


def told(processor, seconds):
    return rtvi.Metrics((rtvi.ProcessorTime(processor, seconds),))


def stages(stt, llm=None, tts=None):
    return AgentStages(StageTimes(stt_ms=stt, llm_ms=llm, tts_ms=tts, source="rtvi-metrics"))


def test_the_stt_figure_comes_before_its_transcript_and_is_kept():
    # Pipecat 1.14's order within a turn.
    turn = [told("STTService#0", 0.2), rtvi.UserTranscription("hello", True, "", "t1"), told("LLMService#0", 0.3)]
    assert heard(rtvi.UserStartedSpeaking(), *turn)[-1] == stages(200, 300)


@pytest.mark.parametrize(
    "start",
    [[rtvi.BotStoppedSpeaking()], [rtvi.UserStartedSpeaking()], [rtvi.UserStartedSpeaking(), rtvi.BotInterrupted()]],
    ids=["after the reply", "user started", "barge-in"],
)
def test_no_figure_of_one_turn_enters_the_next(start):
    first = [told("STTService#0", 0.2), told("LLMService#0", 0.3), told("TTSService#0", 0.1), rtvi.BotStartedSpeaking()]
    assert heard(*first, *start, told("STTService#0", 0.5))[-1] == stages(500)
    untold = heard(*first, *start, rtvi.UserTranscription("more", True), told("LLMService#0", 0.7))
    assert untold[-1] == stages(None, 700)


def test_the_late_figure_of_a_streaming_stt_is_the_same_turns():
    turn = [rtvi.UserStartedSpeaking(), rtvi.BotStoppedSpeaking(), told("LLMService#0", 0.3), told("TTSService#0", 0.1)]
    assert heard(*turn, told("STTService#0", 0.2))[-1] == stages(200, 300, 100)


def test_an_utterance_that_the_agent_took_for_two_turns_is_one():
    # Pipecat 1.14 with a slow Whisper: the turn ends after its first sentence, and the second begins another.
    first = [rtvi.UserStartedSpeaking(), rtvi.UserTranscription("One.", True), rtvi.UserStoppedSpeaking()]
    cut = [told("LLMService#0", 0.007), told("STTService#0", 1.2), rtvi.UserTranscription("Two.", True)]
    again = [rtvi.UserStartedSpeaking(), told("TTSService#0", 0.4), rtvi.UserStoppedSpeaking()]
    reply = [told("LLMService#0", 0.1), told("TTSService#0", 6.0), rtvi.BotStartedSpeaking()]
    assert heard(*first, *cut, *again, *reply)[-2:] == [stages(1200, 100, 6000), AgentSpeaking(True)]


def test_a_transcript_that_comes_while_its_reply_is_spoken_out_leaves_the_replys_figures():
    turn = [rtvi.UserStartedSpeaking(), rtvi.UserTranscription("One.", True), told("LLMService#0", 0.1)]
    late = [told("STTService#0", 2.5), rtvi.UserTranscription("Two.", True), told("TTSService#0", 6.0)]
    assert heard(*turn, *late)[-1] == stages(2500, 100, 6000)


def test_an_unanswered_turns_stt_figure_is_not_the_nexts():
    unanswered = [rtvi.UserStartedSpeaking(), told("STTService#0", 0.2), rtvi.UserTranscription("One.", True)]
    untold = [rtvi.UserStartedSpeaking(), rtvi.UserTranscription("One!", True), told("LLMService#0", 0.7)]
    assert heard(*unanswered, *untold)[-1] == stages(None, 700)
    late = [rtvi.UserStartedSpeaking(), told("STTService#0", 0.5), rtvi.UserTranscription("One!", True)]
    assert heard(*unanswered, *late, told("LLMService#0", 0.7))[-1] == stages(500, 700)


def test_a_greetings_figures_are_not_the_first_turns():
    greeting = [
        told("LLMService#0", 0.3),
        told("TTSService#0", 0.1),
        rtvi.BotStartedSpeaking(),
        rtvi.BotStoppedSpeaking(),
    ]
    assert heard(*greeting, told("STTService#0", 0.2), told("LLMService#0", 0.4))[-1] == stages(200, 400)


def test_one_utterance_told_in_both_message_types_is_heard_once():
    both = [rtvi.UserInput("hello", "transcription", True, "t1"), rtvi.UserTranscription("hello", True, "", "t1")]
    assert heard(*both) == [TranscriptChannel("rtvi"), UserTranscript("hello")]
    assert heard(*reversed(both)) == [TranscriptChannel("rtvi"), UserTranscript("hello")]
    again = rtvi.UserInput("hello", "transcription", True, "t2")
    assert heard(*both, again)[-1] == UserTranscript("hello")
    assert (
        heard(rtvi.UserTranscription("yes", True), rtvi.UserTranscription("yes", True))[1:]
        == [UserTranscript("yes")] * 2
    )


def test_only_final_speech_is_a_hypothesis():
    events = heard(rtvi.UserInput("typed", "chat"), rtvi.UserInput("hel", "transcription", False, "t1"))
    assert events == [TranscriptChannel("rtvi")]
