import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import rtvi

pytestmark = pytest.mark.unit

TIMING = rtvi.TurnTimingMessage(2, 410.0, 120.5, 300.0, 210.25, 12.0, 90.0, 1.5)
EVERY_MESSAGE = [
    rtvi.ClientReady("1", library="page"),
    rtvi.BotReady("1"),
    rtvi.UserTranscription("hello there", is_final=True, user_id="u", timestamp="2026-01-01T00:00:00Z"),
    rtvi.UserTranscription("hel", is_final=False),
    rtvi.UserTranscription("hello", is_final=True, turn=3),
    rtvi.UserInput("hello", "transcription", is_final=True, timestamp="2026-01-01T00:00:00Z"),
    rtvi.UserInput("typed", "chat", user_id="u"),
    rtvi.UserStartedSpeaking(),
    rtvi.UserStoppedSpeaking(),
    rtvi.BotStartedSpeaking(),
    rtvi.BotStoppedSpeaking(),
    rtvi.BotInterrupted(),
    rtvi.BotLlmStarted(),
    rtvi.BotLlmText(" of"),
    rtvi.BotLlmStopped(),
    rtvi.BotTtsStarted(),
    rtvi.BotTtsText("Of course."),
    rtvi.BotTtsStopped(),
    rtvi.BotTranscription("Of course."),
    rtvi.BotOutput("Of course."),
    rtvi.Metrics((rtvi.ProcessorTime("KokoroTTSService#0", 0.25),), (rtvi.ProcessorTime("LLM", 1.5),)),
    TIMING,
    rtvi.ServerMessage({"type": "other", "n": [1, None]}),
    rtvi.ErrorMessage("stt failed", is_fatal=True),
    rtvi.DisconnectBot(),
    rtvi.Ping(1_760_000_000_123),
    rtvi.TrackStatus(0, is_enabled=False),
    rtvi.Renegotiate(),
    rtvi.PeerLeft(),
]


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda m: type(m).__name__)
def test_what_is_built_parses_to_the_same_message(message):
    assert rtvi.parse(rtvi.build(message)) == message
    assert rtvi.parse(rtvi.build(message).encode()) == message


def test_an_unknown_message_is_not_sent():
    with pytest.raises(LocalProtocolError, match="Unknown"):
        rtvi.build(rtvi.Unknown("x"))
    with pytest.raises(LocalProtocolError, match="server-message"):
        rtvi.build(rtvi.ServerMessage({"x": float("nan")}))


# As Pipecat 1.14 (RTVI 2.1.0) writes them.
PIPECAT = [
    (
        '{"label":"rtvi-ai","type":"bot-ready","id":"1","data":{"version":"2.1.0","about":{"library":"pipecat-ai"}}}',
        rtvi.BotReady("1", "2.1.0", "pipecat-ai"),
    ),
    (
        '{"label":"rtvi-ai","type":"bot-output","data":{"text":"Hi.","spoken":true,"aggregated_by":"sentence"}}',
        rtvi.BotOutput("Hi.", "sentence", will_be_spoken=True, spoken_status=""),
    ),
    (
        '{"label":"rtvi-ai","type":"metrics","data":{"ttfb":[{"processor":"OpenAILLMService#0","model":"m","value":0.5}]}}',
        rtvi.Metrics((rtvi.ProcessorTime("OpenAILLMService#0", 0.5),)),
    ),
    ('{"label":"rtvi-ai","type":"llm-function-call-started","data":{}}', rtvi.Unknown("llm-function-call-started")),
    ('{"type":"signalling","message":{"type":"later"}}', rtvi.Unknown("signalling/later")),
    (
        '{"label":"rtvi-ai","type":"user-transcription","data":{"text":"\\ud83dx","final":true}}',
        rtvi.UserTranscription("?x", is_final=True),
    ),
]


@pytest.mark.parametrize(("text", "message"), PIPECAT)
def test_messages_of_a_pipecat_agent(text, message):
    assert rtvi.parse(text) == message


def _rtvi(kind, data):
    return json.dumps({"label": "rtvi-ai", "type": kind, "data": data})


MALFORMED = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("1" * 5000, "not JSON|must be a JSON object"),
    ("[]", "must be a JSON object, not a list"),
    (b"\xff\xfe", "not UTF-8 at byte 0"),
    ("ping: soon", "keep-alive 'ping: soon'"),
    ("{}", "message.type is missing"),
    ('{"type":7}', "message.type must be a string, not 7"),
    ('{"type":"bot-llm-started"}', 'label must be "rtvi-ai", not None'),
    ('{"type":"signalling"}', "message.message is missing"),
    ('{"type":"signalling","message":{"type":"trackStatus","receiver_index":true}}', "receiver_index must be an int"),
    (_rtvi("user-transcription", {"text": "a"}), "message.data.final is missing"),
    (_rtvi("user-transcription", {"text": "a", "final": "yes"}), "final must be true or false, not a string"),
    (_rtvi("user-transcription", "a"), "message.data must be an object"),
    (_rtvi("bot-llm-text", {"text": 1}), "message.data.text must be a string, not 1"),
    (_rtvi("metrics", {"ttfb": [1]}), r"ttfb\[0\] must be an object, not 1"),
    (_rtvi("metrics", {"ttfb": [{"processor": "a", "value": True}]}), "value must be a finite number"),
    (_rtvi("metrics", {"ttfb": [{"processor": "a", "value": float("nan")}]}), "NaN"),
    (_rtvi("metrics", {"ttfb": [{"processor": "a", "value": 10**400}]}), "value must be a finite number"),
    (_rtvi("server-message", {"type": "turn-timing", "turn": 1}), "server-message.data.endpointing_ms is missing"),
]


@pytest.mark.parametrize(("text", "reason"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_message_names_what_is_wrong(text, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        rtvi.parse(text)


_KINDS = [json.loads(rtvi.build(m))["type"] for m in EVERY_MESSAGE if not isinstance(m, rtvi.Ping)]
_WORDS = st.sampled_from(
    ["text", "final", "ttfb", "processor", "value", "type", "turn", "data", "error", "turn-timing"]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | _WORDS
_OBJECTS = st.dictionaries(_WORDS, _LEAVES | st.lists(st.dictionaries(_WORDS, _LEAVES), max_size=2), max_size=4)
_JSON = _LEAVES | _OBJECTS


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(_KINDS)},
        optional={"label": st.just("rtvi-ai"), "id": _JSON, "data": _JSON, "message": _JSON},
    )
)
def test_no_peer_can_raise_anything_but_a_protocol_error(value):
    try:
        rtvi.parse(json.dumps(value))
    except RemoteProtocolError:
        return


def test_ttfb_is_mapped_to_stages_by_processor_name():
    metrics = rtvi.Metrics(
        (
            rtvi.ProcessorTime("DeepgramSTTService#0", 0.2),
            rtvi.ProcessorTime("OpenAILLMService#1", 0.5),
            rtvi.ProcessorTime("OpenAILLMService#1", 0.25),
            # What Pipecat sends for every processor at start: not measured.
            rtvi.ProcessorTime("CartesiaTTSService#0", 0.0),
            rtvi.ProcessorTime("SmartTurn#0", 9.0),
        )
    )
    assert rtvi.stage_ttfb(metrics) == (200.0, 250.0, None)


@pytest.mark.parametrize(
    ("processor", "stage"),
    [
        # Pipecat's own names in which "s" meets "TTS".
        ("ElevenLabsTTSService#0", "tts"),
        ("SmallestTTSService#0", "tts"),
        ("SpeechmaticsTTSService#1", "tts"),
        ("SpeechmaticsSTTService#0", "stt"),
        ("OpenAILLMService#0", "llm"),
        ("elevenlabs_tts", "tts"),
        ("whispersttservice", "stt"),
        ("SttStage", "stt"),
        ("SileroVAD#0", None),
    ],
)
def test_a_processors_stage_is_a_word_of_its_name(processor, stage):
    times = rtvi.stage_ttfb(rtvi.Metrics((rtvi.ProcessorTime(processor, 0.1),)))
    assert times == tuple(100.0 if name == stage else None for name in ("stt", "llm", "tts"))
