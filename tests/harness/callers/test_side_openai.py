"""What a conversation understands of OpenAI's Realtime events."""

import pytest

from harness.callers.exchange import AgentSpeaking, AgentText, TranscriptChannel, UserTranscript
from harness.callers.side_openai import MOST_ITEMS, OpenAiChannel
from harness.model.errors import RemoteProtocolError
from harness.protocols import openai_realtime as realtime

pytestmark = pytest.mark.unit


def heard(*events):
    channel = OpenAiChannel()
    return [understood for e in events for understood in channel.read(realtime.build(e, "e"))]


def test_transcripts_are_announced_once_by_a_session_that_has_them():
    silent, telling = realtime.Session("s"), realtime.Session("s", transcribes=True)
    assert heard(silent) == []
    assert heard(silent, telling, telling) == [TranscriptChannel("oai-events")]
    announced = [TranscriptChannel("oai-events"), UserTranscript("hi", 1)]
    assert heard(silent, realtime.UserTranscript("item_1", "hi")) == announced


def test_an_utterance_in_two_items_is_heard_in_their_order_whatever_comes_first():
    events = heard(
        realtime.SpeechStarted("a"),
        realtime.SpeechStarted("b"),
        realtime.UserTranscript("b", "two"),
        realtime.UserTranscript("a", "one"),
        realtime.UserTranscript("b", "too"),
    )
    transcripts = [e for e in events if isinstance(e, UserTranscript)]
    assert transcripts == [UserTranscript("two", 2), UserTranscript("one", 1), UserTranscript("too", 2)]


def test_the_agents_words_and_whether_it_speaks():
    events = heard(
        realtime.AgentTranscriptDelta("r", "Hel"),
        realtime.OutputAudio(True),
        realtime.AgentTranscript("r", "Hello."),
        realtime.OutputAudio(False),
        realtime.ResponseDone("r", "completed"),
        realtime.OutputAudio(False, is_cleared=True),
    )
    assert events == [
        AgentSpeaking(True),
        AgentText("Hello.", "transcription"),
        AgentSpeaking(False),
        AgentSpeaking(False),
    ]


def test_what_went_wrong_over_there_is_logged_and_ends_nothing(caplog):
    failed = realtime.UserTranscriptFailed("item_1", "no audio")
    assert heard(realtime.Problem("too fast", "rate_limit"), realtime.ResponseDone("r", "failed", "overloaded")) == []
    assert heard(failed) == [TranscriptChannel("oai-events")]
    for words in ("rate_limit too fast", "overloaded", "no audio"):
        assert words in caplog.text


def test_the_session_is_the_agents_to_set():
    channel = OpenAiChannel()
    assert (channel.label, channel.hello(), channel.ping_interval_s) == ("oai-events", [], None)
    with pytest.raises(RemoteProtocolError):
        channel.read("no event")


def test_items_without_end_are_not_kept_without_end(caplog):
    channel = OpenAiChannel()
    started = [realtime.build(realtime.SpeechStarted(f"item {n}"), "e") for n in range(MOST_ITEMS + 3)]
    for message in started:
        channel.read(message)
    assert len(channel._segments) == MOST_ITEMS
    assert [r.getMessage() for r in caplog.records] == [
        f"the agent heard more than {MOST_ITEMS} utterances in one call: the order of the others' transcripts is lost"
    ]
    told = [channel.read(realtime.build(realtime.UserTranscript(f"item {n}", "x"), "e"))[-1] for n in (9, MOST_ITEMS)]
    assert told == [UserTranscript("x", 10), UserTranscript("x", 0)]
