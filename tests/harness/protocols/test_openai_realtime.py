"""OpenAI's Realtime events: what is read of them, under old names and new, and that nothing breaks the reader."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import RemoteProtocolError
from harness.protocols import openai_realtime as realtime

pytestmark = pytest.mark.unit


def event(kind, **fields):
    return realtime.parse(json.dumps({"type": kind, "event_id": "e", **fields}))


# As the API reference shows them, without what nobody reads.
@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (
            "session.created",
            {"session": {"id": "sess_1", "model": "gpt-realtime", "audio": {"input": {"transcription": None}}}},
            realtime.Session("sess_1", "gpt-realtime"),
        ),
        (
            "session.updated",
            {"session": {"id": "s", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}},
            realtime.Session("s", "", transcribes=True, is_update=True),
        ),
        (
            "session.created",
            {"session": {"id": "s", "input_audio_transcription": {"model": "whisper-1"}}},
            realtime.Session("s", "", transcribes=True),
        ),
        (
            "input_audio_buffer.speech_started",
            {"audio_start_ms": 1000, "item_id": "item_3"},
            realtime.SpeechStarted("item_3", 1000.0),
        ),
        (
            "input_audio_buffer.speech_stopped",
            {"audio_end_ms": 2000, "item_id": "item_3"},
            realtime.SpeechStopped("item_3", 2000.0),
        ),
        (
            "conversation.item.input_audio_transcription.completed",
            {"item_id": "item_3", "content_index": 0, "transcript": "Hello", "usage": {"type": "tokens"}},
            realtime.UserTranscript("item_3", "Hello"),
        ),
        (
            "conversation.item.input_audio_transcription.failed",
            {"item_id": "item_3", "error": {"type": "transcription_error", "message": "no audio"}},
            realtime.UserTranscriptFailed("item_3", "no audio"),
        ),
        (
            "response.output_audio_transcript.delta",
            {"response_id": "r", "delta": "Hel"},
            realtime.AgentTranscriptDelta("r", "Hel"),
        ),
        (
            "response.audio_transcript.delta",
            {"response_id": "r", "delta": "Hel"},
            realtime.AgentTranscriptDelta("r", "Hel"),
        ),
        (
            "response.output_audio_transcript.done",
            {"response_id": "r", "transcript": "Hello."},
            realtime.AgentTranscript("r", "Hello."),
        ),
        (
            "response.audio_transcript.done",
            {"response_id": "r", "transcript": "Hello."},
            realtime.AgentTranscript("r", "Hello."),
        ),
        ("output_audio_buffer.started", {"response_id": "r"}, realtime.OutputAudio(True)),
        ("output_audio_buffer.stopped", {"response_id": "r"}, realtime.OutputAudio(False)),
        ("output_audio_buffer.cleared", {"response_id": "r"}, realtime.OutputAudio(False, is_cleared=True)),
        (
            "response.done",
            {"response": {"id": "r", "status": "completed", "status_details": None, "usage": {"total_tokens": 7}}},
            realtime.ResponseDone("r", "completed", usage={"total_tokens": 7}),
        ),
        (
            "response.done",
            {"response": {"id": "r", "status": "failed", "status_details": {"error": {"message": "overloaded"}}}},
            realtime.ResponseDone("r", "failed", "overloaded"),
        ),
        (
            "response.done",
            {"response": {"id": "r", "status": "cancelled", "status_details": {"reason": "turn_detected"}}},
            realtime.ResponseDone("r", "cancelled", "turn_detected"),
        ),
        (
            "error",
            {"error": {"type": "invalid_request_error", "code": "invalid_event", "message": "bad", "param": None}},
            realtime.Problem("bad", "invalid_event"),
        ),
        ("rate_limits.updated", {"rate_limits": []}, realtime.Other("rate_limits.updated")),
    ],
)
def test_events_as_the_reference_shows_them(kind, fields, expected):
    assert event(kind, **fields) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "event is not JSON"),
        ("[]", "event must be a JSON object"),
        ("{}", "event.type is missing"),
        ('{"type": 5}', "event.type must be a string"),
        ('{"type": "response.done", "response": 5}', "event.response must be an object"),
        ('{"type": "input_audio_buffer.speech_started", "audio_start_ms": "x"}', "audio_start_ms must be a number"),
    ],
)
def test_what_is_no_event_names_the_field(text, message):
    with pytest.raises(RemoteProtocolError, match=message):
        realtime.parse(text)


WORDS = st.text(max_size=20).map(lambda t: t.encode(errors="replace").decode())
EVENTS = st.one_of(
    st.builds(realtime.Session, WORDS, WORDS, st.booleans(), st.booleans()),
    st.builds(realtime.SpeechStarted, WORDS, st.integers(0, 10**6).map(float)),
    st.builds(realtime.SpeechStopped, WORDS, st.integers(0, 10**6).map(float)),
    st.builds(realtime.UserTranscript, WORDS, WORDS),
    st.builds(realtime.UserTranscriptFailed, WORDS, WORDS),
    st.builds(realtime.AgentTranscriptDelta, WORDS, WORDS),
    st.builds(realtime.AgentTranscript, WORDS, WORDS),
    st.builds(realtime.OutputAudio, st.just(True)),
    st.builds(realtime.OutputAudio, st.just(False), st.booleans()),
    st.builds(realtime.ResponseDone, WORDS, WORDS, WORDS, st.just({"total_tokens": 3})),
    st.builds(realtime.Problem, WORDS, WORDS.filter(bool)),
    st.builds(realtime.Other, st.just("conversation.created")),
)


@given(EVENTS)
def test_what_was_built_is_read_again(said):
    assert realtime.parse(realtime.build(said, "event_1")) == said


KINDS = ["session.created", "response.done", "error", "response.audio_transcript.done", "anything"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
)


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(["session", "response", "error", "transcript"]), JSON))
def test_no_content_breaks_the_reader(kind, content):
    with contextlib.suppress(RemoteProtocolError):
        realtime.parse(json.dumps({**content, "type": kind}))
