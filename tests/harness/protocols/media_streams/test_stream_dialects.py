"""Each provider's frames as its reference has them: read by the other end, and written like them by ours."""

import base64
import json

import pytest

from harness.model.errors import LocalProtocolError, RemoteProtocolError, ScenarioError
from harness.protocols.media_streams.dialect import L16_8K, L16_16K, PCMA, PCMU
from harness.protocols.media_streams.dialects import (
    DIALECTS,
    EXOTEL,
    JAMBONZ,
    PLIVO,
    TELNYX,
    TWILIO,
    VONAGE,
    dialect_named,
)
from harness.protocols.media_streams.messages import (
    AgentAudio,
    CallerAudio,
    Clear,
    Cleared,
    Connected,
    Dtmf,
    ForgetMarks,
    HangUp,
    Mark,
    MarkPlayed,
    Other,
    Started,
    Stopped,
)
from harness.protocols.media_streams.stream import AgentEnd, CarrierEnd, Identity

pytestmark = pytest.mark.unit

AUDIO = b"\x7f\xff\x80\x00"
B64 = base64.b64encode(AUDIO).decode()
# Carrier to agent, in the words of each provider's reference, and what they mean.
FROM_CARRIER = {
    "twilio": [
        ('{"event": "connected", "protocol": "Call", "version": "1.0.0"}', Connected()),
        (
            (
                '{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1","callSid":"CA1",'
                '"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
                '"customParameters":{"FirstName":"Jane"}},"streamSid":"MZ1"}'
            ),
            Started("MZ1", "CA1", "AC1", parameters={"FirstName": "Jane"}, encoding="audio/x-mulaw", sample_rate=8000),
        ),
        (
            (
                f'{{"event":"media","sequenceNumber":"3","media":{{"track":"inbound","chunk":"1","timestamp":"5",'
                f'"payload":"{B64}"}},"streamSid":"MZ1"}}'
            ),
            CallerAudio(AUDIO),
        ),
        (
            '{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"1"}}',
            Dtmf("1"),
        ),
        ('{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"my label"}}', MarkPlayed("my label")),
        (
            '{"event":"stop","sequenceNumber":"9","stop":{"accountSid":"AC1","callSid":"CA1"},"streamSid":"MZ1"}',
            Stopped(),
        ),
    ],
    "telnyx": [
        ('{"event": "connected", "version": "1.0.0"}', Connected()),
        (
            (
                '{"event":"start","sequence_number":"1","stream_id":"S1","start":{"user_id":"U1","call_control_id":"v3:C1",'
                '"call_session_id":"X","from":"+1","to":"+2","tags":["t"],"client_state":"abc",'
                '"media_format":{"encoding":"PCMA","sample_rate":8000,"channels":1}}}'
            ),
            Started("S1", "v3:C1", "U1", "+1", "+2", encoding="PCMA", sample_rate=8000),
        ),
        (
            (
                f'{{"event":"media","sequence_number":"4","media":{{"track":"inbound","chunk":"2","timestamp":"5",'
                f'"payload":"{B64}"}},"stream_id":"S1"}}'
            ),
            CallerAudio(AUDIO),
        ),
        (
            '{"event":"dtmf","stream_id":"S1","occurred_at":"2026","sequence_number":"5","dtmf":{"digit":"#"}}',
            Dtmf("#"),
        ),
        ('{"event":"mark","sequence_number":"2","stream_id":"S1","mark":{"name":"m"}}', MarkPlayed("m")),
        ('{"event":"error","payload":{"code":100002,"title":"unknown_error"},"stream_id":"S1"}', Other("event: error")),
        ('{"event":"stop","sequence_number":"5","stop":{"user_id":"U1","call_control_id":"v3:C1"}}', Stopped()),
    ],
    "plivo": [
        (
            (
                '{"sequenceNumber":0,"event":"start","start":{"callId":"C1","streamId":"S1","accountId":"MA1",'
                '"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-l16","sampleRate":16000}},'
                '"extra_headers":"userId=12345;sessionId=abc-xyz"}'
            ),
            Started(
                "S1",
                "C1",
                "MA1",
                parameters={"userId": "12345", "sessionId": "abc-xyz"},
                encoding="audio/x-l16",
                sample_rate=16000,
            ),
        ),
        (
            (
                f'{{"sequenceNumber":7,"streamId":"S1","event":"media","media":{{"track":"inbound","timestamp":"1667",'
                f'"chunk":1,"payload":"{B64}"}},"extra_headers":"{{}}"}}'
            ),
            CallerAudio(AUDIO),
        ),
        ('{"event":"dtmf","dtmf":{"digit":"9"},"streamId":"S1"}', Dtmf("9")),
        ('{"event":"playedStream","name":"greeting"}', MarkPlayed("greeting")),
        ('{"event":"clearedAudio","streamId":"S1","sequenceNumber":5}', Cleared()),
    ],
    "exotel": [
        ('{"event": "connected"}', Connected()),
        (
            (
                '{"event":"start","sequence_number":1,"stream_sid":"S1","start":{"stream_sid":"S1","call_sid":"C1",'
                '"account_sid":"A1","from":"+91","to":"+80","custom_parameters":{"k":"v"},'
                '"media_format":{"encoding":"audio/x-raw","sample_rate":"8000","bit_rate":"16"}}}'
            ),
            Started("S1", "C1", "A1", "+91", "+80", {"k": "v"}, "audio/x-raw", 8000),
        ),
        (
            (
                f'{{"event":"media","sequence_number":"3","stream_sid":"S1","media":{{"chunk":"2","timestamp":"200",'
                f'"payload":"{B64}"}}}}'
            ),
            CallerAudio(AUDIO),
        ),
        (
            '{"event":"dtmf","sequence_number":"7","stream_sid":"S1","dtmf":{"digit":"5","duration":"100"}}',
            Dtmf("5", 100),
        ),
        ('{"event":"mark","sequence_number":"15","stream_sid":"S1","mark":{"name":"m"}}', MarkPlayed("m")),
        (
            (
                '{"event":"stop","sequence_number":"20","stream_sid":"S1","stop":{"call_sid":"C1","account_sid":"A1",'
                '"reason":"stopped"}}'
            ),
            Stopped("stopped"),
        ),
    ],
    "vonage": [
        (
            '{"event":"websocket:connected","content-type":"audio/l16;rate=8000","caller":"+44"}',
            Started(parameters={"caller": "+44"}, sample_rate=8000),
        ),
        (AUDIO, CallerAudio(AUDIO)),
        ('{"event":"websocket:dtmf","digit":"5","duration":260}', Dtmf("5", 260)),
        ('{"event":"websocket:cleared"}', Cleared()),
        ('{"event":"websocket:notify","payload":{"k":[1]}}', MarkPlayed('{"k": [1]}')),
    ],
    "jambonz": [
        (
            (
                '{"callSid":"C1","direction":"inbound","from":"+1","to":"+2","callerName":"x","accountSid":"A1",'
                '"sampleRate":16000,"mixType":"mono","metadata":{"k":"v"}}'
            ),
            Started(
                call_id="C1",
                account_id="A1",
                from_number="+1",
                to_number="+2",
                parameters={"k": "v"},
                sample_rate=16000,
            ),
        ),
        (AUDIO, CallerAudio(AUDIO)),
        ('{"event":"dtmf","dtmf":"2","duration":"1600"}', Dtmf("2")),
        ('{"type":"mark","data":{"name":"m","event":"playout"}}', MarkPlayed("m")),
        ('{"type":"mark","data":{"name":"m","event":"cleared"}}', MarkPlayed("m", is_cleared=True)),
    ],
}
FROM_AGENT = {
    "twilio": [
        (f'{{"event":"media","streamSid":"MZ1","media":{{"payload":"{B64}"}}}}', AgentAudio(AUDIO)),
        ('{"event":"mark","streamSid":"MZ1","mark":{"name":"m"}}', Mark("m")),
        ('{"event":"clear","streamSid":"MZ1"}', Clear()),
        ('{"event":"unheard_of"}', Other("event: unheard_of")),
    ],
    "telnyx": [
        (f'{{"event":"media","media":{{"payload":"{B64}"}}}}', AgentAudio(AUDIO)),
        ('{"event":"mark","mark":{"name":"m"}}', Mark("m")),
        ('{"event":"clear"}', Clear()),
    ],
    "plivo": [
        (
            f'{{"event":"playAudio","media":{{"contentType":"audio/x-mulaw","sampleRate":8000,"payload":"{B64}"}},"streamId":"S"}}',
            AgentAudio(AUDIO, "audio/x-mulaw", 8000),
        ),
        (f'{{"event":"playAudio","media":{{"contentType":"audio/x-mulaw","sampleRate":"8000","payload":"{B64}"}}}}',
         AgentAudio(AUDIO, "audio/x-mulaw", 8000)),
        ('{"event":"checkpoint","streamId":"S","name":"customer greeting audio"}', Mark("customer greeting audio")),
        ('{"event":"clearAudio","streamId":"S"}', Clear()),
        ('{"event":"sendDTMF","dtmf":"1"}', Other("event: sendDTMF")),
    ],
    "exotel": [
        (f'{{"event":"media","stream_sid":"S","media":{{"payload":"{B64}"}}}}', AgentAudio(AUDIO)),
        ('{"event":"mark","stream_sid":"S","mark":{"name":"m"}}', Mark("m")),
        ('{"event":"clear","stream_sid":"S"}', Clear()),
    ],
    "vonage": [
        (AUDIO, AgentAudio(AUDIO)),
        ('{"action":"notify","payload":{"customKey":"customValue"}}', Mark('{"customKey": "customValue"}')),
        ('{"action":"clear"}', Clear()),
    ],
    "jambonz": [
        (AUDIO, AgentAudio(AUDIO)),
        ('{"type":"mark","data":{"name":"my-mark-1"}}', Mark("my-mark-1")),
        ('{"type":"killAudio"}', Clear()),
        ('{"type":"clearMarks"}', ForgetMarks()),
        ('{"type":"disconnect"}', HangUp()),
    ],
}  # fmt: skip
ALL = list(DIALECTS)


def carrier(dialect, audio=None, **parameters):
    audio = audio or next(iter(dialect.formats))
    return CarrierEnd(dialect, audio, Identity("+15550100", "+15550101", parameters))


@pytest.mark.parametrize("name", ALL)
def test_an_agent_reads_what_the_carriers_reference_shows(name):
    known, told = AgentEnd(DIALECTS[name]), AgentEnd()
    for message, meaning in FROM_CARRIER[name]:
        assert known.receive(message) == meaning
        assert told.receive(message) == meaning
    assert told.dialect is DIALECTS[name]


@pytest.mark.parametrize("name", ALL)
def test_a_carrier_reads_what_agents_send(name):
    end = carrier(DIALECTS[name])
    for message, meaning in FROM_AGENT[name]:
        assert end.receive(message) == meaning


@pytest.mark.parametrize("name", ALL)
def test_what_one_end_writes_the_other_reads(name):
    dialect = DIALECTS[name]
    for audio in dialect.formats:
        one, other = carrier(dialect, audio, call_id="c-1", note='a "quoted" word'), AgentEnd()
        if name == "plivo":
            one = carrier(dialect, audio, call_id="c-1", note="plain words")
        for message in one.open():
            other.receive(message)
        assert other.dialect is dialect
        assert other.started.parameters == dict(one.started.parameters)
        assert other.audio_format == audio
        assert other.receive(one.audio(AUDIO if dialect.is_binary else B64, 20)) == CallerAudio(AUDIO)
        key = other.receive(one.dtmf("#", 40))
        assert (key.digit, type(key)) == ("#", Dtmf)
        assert other.receive(one.mark_played("m")) == MarkPlayed("m")
        stop, cleared = one.stop(), one.cleared()
        assert stop is None or other.receive(stop) == Stopped("callended")
        assert cleared is None or other.receive(cleared) == Cleared()
        spoken = one.receive(other.audio(AUDIO))
        assert spoken.payload == AUDIO
        assert one.receive(other.mark("m")) == Mark("m")
        assert one.receive(other.clear()) == Clear()
        hang_up = other.hang_up()
        assert hang_up is None or one.receive(hang_up) == HangUp()


def test_twilio_numbers_its_messages_as_strings_from_one():
    end = carrier(TWILIO)
    opening = [json.loads(message) for message in end.open()]
    assert [m["event"] for m in opening] == ["connected", "start"]
    start = opening[1]
    assert start["sequenceNumber"] == "1"
    assert start["streamSid"] == start["start"]["streamSid"]
    for name, prefix in (("accountSid", "AC"), ("streamSid", "MZ"), ("callSid", "CA")):
        assert start["start"][name].startswith(prefix)
        assert len(start["start"][name]) == 34
    media = [json.loads(end.audio(B64, at)) for at in (0, 20)]
    assert [(m["sequenceNumber"], m["media"]["chunk"], m["media"]["timestamp"]) for m in media] == [
        ("2", "1", "0"),
        ("3", "2", "20"),
    ]
    assert list(media[0]) == ["event", "sequenceNumber", "media", "streamSid"]


@pytest.mark.parametrize(
    ("dialect", "message", "why"),
    [
        (TWILIO, "{", "not JSON"),
        (TWILIO, "[1]", "must be a JSON object"),
        (TWILIO, '{"a": NaN}', "not JSON"),
        (TWILIO, "[" * 100_000, "not JSON"),
        (TWILIO, '{"media": {}}', "does not say what it is"),
        (TWILIO, '{"event": "media"}', "media.media.payload is missing"),
        (TWILIO, '{"event": "media", "media": []}', "media.media.payload is missing"),
        (TWILIO, '{"event": "media", "media": {"payload": 5}}', "must be a string, not 5"),
        (TWILIO, '{"event": "media", "media": {"payload": "a"}}', "is not base64"),
        (TWILIO, '{"event": "media", "media": {"payload": ""}}', "without a sample"),
        (TWILIO, '{"event": "mark", "mark": {}}', "mark.mark.name is missing"),
        (TWILIO, AUDIO, "binary message"),
        (VONAGE, b"\0\0\0", "half a sample"),
        (VONAGE, '{"action": "notify", "payload": 1}', "must be an object"),
        (EXOTEL, '{"event": "media", "media": {"payload": "AAAA"}}', "half a sample"),
        (
            PLIVO,
            f'{{"event":"playAudio","media":{{"contentType":"audio/x-l16","sampleRate":16000,"payload":"{B64}"}}}}',
            "'audio/x-l16' at 16000 Hz, but the stream is audio/x-mulaw at 8000 Hz",
        ),
        (PLIVO, f'{{"event":"playAudio","media":{{"sampleRate":"x","payload":"{B64}"}}}}', "must be a whole number"),
    ],
)
def test_what_no_carrier_could_use_is_told_and_the_stream_goes_on(dialect, message, why):
    end = carrier(dialect)
    with pytest.raises(RemoteProtocolError, match=why):
        end.receive(message)
    good, meaning = FROM_AGENT[dialect.name][0]
    assert end.receive(good) == meaning


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (AUDIO, "audio before the message"),
        ('{"event": "start", "start": {}}', "legal: twilio, telnyx"),
        ('{"event": "hello"}', "legal: twilio, telnyx"),
    ],
)
def test_a_start_of_nobodys_is_told(message, why):
    with pytest.raises(RemoteProtocolError, match=why):
        AgentEnd().receive(message)


def test_an_encoding_the_dialect_has_not_is_told():
    end = AgentEnd(TELNYX)
    end.receive('{"event":"start","stream_id":"s","start":{"call_control_id":"c","media_format":{"encoding":"OPUS"}}}')
    with pytest.raises(RemoteProtocolError, match="legal: PCMU at 8000 Hz, PCMA at 8000 Hz"):
        _ = end.audio_format
    with pytest.raises(LocalProtocolError, match="legal: PCMU"):
        carrier(TWILIO, L16_8K)


def test_the_formats_of_the_table():
    assert (PCMU.packet_bytes, PCMA.packet_bytes, L16_8K.packet_bytes, L16_16K.packet_bytes) == (160, 160, 320, 640)
    assert L16_16K.duration_ns(640) == 20_000_000
    assert JAMBONZ.subprotocol == "audio.jambonz.org"
    with pytest.raises(ScenarioError, match="legal: twilio"):
        dialect_named("genesys")


def said(payload, rest='"streamSid": "MZ1"'):
    return f'{{"event": "media", {rest}, "media": {{"payload": "{payload}"}}}}'


def test_messages_of_one_form_are_read_alike_and_others_as_they_are():
    carrier = CarrierEnd(TWILIO, PCMU, Identity())
    for payload in (b"\0\1\2", b"abc", b"a", b"\xff" * 160):
        assert carrier.receive(said(base64.b64encode(payload).decode())) == AgentAudio(payload)
    for wrong in ("", "A===", "AA=A", "AA==x", " AA=="):
        for end in (carrier, CarrierEnd(TWILIO, PCMU, Identity())):
            with pytest.raises(RemoteProtocolError):
                end.receive(said(wrong))
    for text in ("A\\u0041==", 'AA==", "x": "'):
        assert carrier.receive(said(text)) == AgentAudio(b"\0")
    assert carrier.receive(said('YQ==", "payload": "AA==')) == AgentAudio(b"\0")
    assert carrier.receive(said("YQ==", '"event": "clear"')) == Clear()
    # The payload's own text elsewhere in the message is not taken for it.
    for _ in range(2):
        assert carrier.receive(said("YQ==", '"streamSid": "YQ=="')) == AgentAudio(b"a")
    assert carrier.receive(said("Yg==", '"streamSid": "YQ=="')) == AgentAudio(b"b")


def test_a_piece_of_the_callers_audio_is_written_alike_from_bytes_and_from_base64():
    one, other = CarrierEnd(TWILIO, PCMU, Identity()), CarrierEnd(TWILIO, PCMU, Identity())
    ids = {one.started.stream_id: "S", other.started.stream_id: "S"}
    written = [one.audio(b"abc", 20), other.audio("YWJj", 20)]
    for name, short in ids.items():
        written = [text.replace(name, short) for text in written]
    assert written[0] == written[1]
    assert json.loads(written[0])["media"] == {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": "YWJj"}
