"""The table of providers: how each writes what messages.py says, and how each treats its playout buffer.

Sources: the providers' own references (Twilio Media Streams, Telnyx media streaming, Plivo audio streaming, Exotel
stream and voicebot applet, Vonage Voice WebSockets, jambonz `listen`); for the agent's side pipecat-ai's serializers.
"""

from typing import Any

from harness.model.errors import ScenarioError
from harness.protocols.media_streams.dialect import L16_8K, L16_16K, PCMA, PCMU, Dialect, OnClear
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
    Started,
    Stopped,
)
from harness.protocols.media_streams.templates import (
    AUDIO,
    BESIDE,
    DIGITS,
    NUMBER,
    OBJECT,
    PAIRS,
    RATED,
    STRINGS,
    TEXT,
    WORDS,
    Template,
)


def _templates(**by_kind: Any) -> dict[type, Template]:
    return {_KINDS[name]: Template(json) for name, json in by_kind.items()}


_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Connected, Started, CallerAudio, Dtmf, MarkPlayed, Cleared, Stopped,
        AgentAudio, Mark, Clear, ForgetMarks, HangUp,
    )
}  # fmt: skip

TWILIO = Dialect(
    name="twilio",
    formats={PCMU: "audio/x-mulaw"},
    id_prefixes={"stream_id": "MZ", "call_id": "CA", "account_id": "AC"},
    on_clear=OnClear.PLAYED,
    to_agent=_templates(
        Connected={"event": "connected", "protocol": "Call", "version": "1.0.0"},
        Started={
            "event": "start",
            "sequenceNumber": DIGITS("sequence", may_lack=True),
            "start": {
                "accountSid": TEXT("account_id", may_lack=True),
                "streamSid": TEXT("stream_id"),
                "callSid": TEXT("call_id"),
                "tracks": ["inbound"],
                "mediaFormat": {
                    "encoding": TEXT("encoding", may_lack=True),
                    "sampleRate": NUMBER("sample_rate", may_lack=True),
                    "channels": 1,
                },
                "customParameters": STRINGS("parameters", may_lack=True),
            },
            "streamSid": TEXT("stream_id", may_lack=True),
        },
        CallerAudio={
            "event": "media",
            "sequenceNumber": DIGITS("sequence", may_lack=True),
            "media": {
                "track": "inbound",
                "chunk": DIGITS("chunk", may_lack=True),
                "timestamp": DIGITS("timestamp_ms", may_lack=True),
                "payload": AUDIO("payload"),
            },
            "streamSid": TEXT("stream_id", may_lack=True),
        },
        Dtmf={
            "event": "dtmf",
            "streamSid": TEXT("stream_id", may_lack=True),
            "sequenceNumber": DIGITS("sequence", may_lack=True),
            "dtmf": {"track": "inbound_track", "digit": TEXT("digit")},
        },
        MarkPlayed={
            "event": "mark",
            "sequenceNumber": DIGITS("sequence", may_lack=True),
            "streamSid": TEXT("stream_id", may_lack=True),
            "mark": {"name": TEXT("name")},
        },
        Stopped={
            "event": "stop",
            "sequenceNumber": DIGITS("sequence", may_lack=True),
            "stop": {"accountSid": TEXT("account_id", may_lack=True), "callSid": TEXT("call_id", may_lack=True)},
            "streamSid": TEXT("stream_id", may_lack=True),
        },
    ),
    from_agent=_templates(
        AgentAudio={
            "event": "media",
            "streamSid": TEXT("stream_id", may_lack=True),
            "media": {"payload": AUDIO("payload")},
        },
        Mark={"event": "mark", "streamSid": TEXT("stream_id", may_lack=True), "mark": {"name": TEXT("name")}},
        Clear={"event": "clear", "streamSid": TEXT("stream_id", may_lack=True)},
    ),
)

TELNYX = Dialect(
    name="telnyx",
    formats={PCMU: "PCMU", PCMA: "PCMA"},
    id_prefixes={"stream_id": None, "call_id": "v3:", "account_id": None},
    on_clear=OnClear.PLAYED,
    to_agent=_templates(
        Connected={"event": "connected", "version": "1.0.0"},
        Started={
            "event": "start",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "start": {
                "user_id": TEXT("account_id", may_lack=True),
                "call_control_id": TEXT("call_id"),
                "from": TEXT("from_number", may_lack=True),
                "to": TEXT("to_number", may_lack=True),
                "custom_parameters": STRINGS("parameters", may_lack=True),
                "media_format": {
                    "encoding": TEXT("encoding", may_lack=True),
                    "sample_rate": NUMBER("sample_rate", may_lack=True),
                    "channels": 1,
                },
            },
            "stream_id": TEXT("stream_id"),
        },
        CallerAudio={
            "event": "media",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "media": {
                "track": "inbound",
                "chunk": DIGITS("chunk", may_lack=True),
                "timestamp": DIGITS("timestamp_ms", may_lack=True),
                "payload": AUDIO("payload"),
            },
            "stream_id": TEXT("stream_id", may_lack=True),
        },
        Dtmf={
            "event": "dtmf",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "dtmf": {"digit": TEXT("digit")},
            "stream_id": TEXT("stream_id", may_lack=True),
        },
        MarkPlayed={
            "event": "mark",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "mark": {"name": TEXT("name")},
            "stream_id": TEXT("stream_id", may_lack=True),
        },
        Stopped={
            "event": "stop",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "stop": {
                "user_id": TEXT("account_id", may_lack=True),
                "call_control_id": TEXT("call_id", may_lack=True),
            },
            "stream_id": TEXT("stream_id", may_lack=True),
        },
    ),
    from_agent=_templates(
        AgentAudio={"event": "media", "media": {"payload": AUDIO("payload")}},
        Mark={"event": "mark", "mark": {"name": TEXT("name")}},
        Clear={"event": "clear"},
    ),
)

PLIVO = Dialect(
    name="plivo",
    formats={PCMU: "audio/x-mulaw", L16_8K: "audio/x-l16", L16_16K: "audio/x-l16"},
    id_prefixes={"stream_id": None, "call_id": None, "account_id": "MA"},
    # "playedStream" tells of what was played, and of nothing else.
    on_clear=OnClear.DROPPED,
    first_sequence=0,
    to_agent=_templates(
        Started={
            "sequenceNumber": NUMBER("sequence", may_lack=True),
            "event": "start",
            "start": {
                "callId": TEXT("call_id"),
                "streamId": TEXT("stream_id"),
                "accountId": TEXT("account_id", may_lack=True),
                "tracks": ["inbound"],
                "mediaFormat": {
                    "encoding": TEXT("encoding", may_lack=True),
                    "sampleRate": NUMBER("sample_rate", may_lack=True),
                },
            },
            "extra_headers": PAIRS("parameters", may_lack=True),
        },
        CallerAudio={
            "sequenceNumber": NUMBER("sequence", may_lack=True),
            "streamId": TEXT("stream_id", may_lack=True),
            "event": "media",
            "media": {
                "track": "inbound",
                "timestamp": DIGITS("timestamp_ms", may_lack=True),
                "chunk": NUMBER("chunk", may_lack=True),
                "payload": AUDIO("payload"),
            },
        },
        Dtmf={
            "sequenceNumber": NUMBER("sequence", may_lack=True),
            "streamId": TEXT("stream_id", may_lack=True),
            "event": "dtmf",
            "dtmf": {
                "track": "inbound",
                "digit": TEXT("digit"),
                "timestamp": DIGITS("timestamp_ms", may_lack=True),
            },
        },
        MarkPlayed={
            "sequenceNumber": NUMBER("sequence", may_lack=True),
            "streamId": TEXT("stream_id", may_lack=True),
            "event": "playedStream",
            "name": TEXT("name"),
        },
        Cleared={
            "sequenceNumber": NUMBER("sequence", may_lack=True),
            "streamId": TEXT("stream_id", may_lack=True),
            "event": "clearedAudio",
        },
    ),
    from_agent=_templates(
        AgentAudio={
            "event": "playAudio",
            "media": {
                "contentType": TEXT("encoding", may_lack=True),
                "sampleRate": NUMBER("sample_rate", may_lack=True),
                "payload": AUDIO("payload"),
            },
            "streamId": TEXT("stream_id", may_lack=True),
        },
        Mark={"event": "checkpoint", "streamId": TEXT("stream_id", may_lack=True), "name": TEXT("name")},
        Clear={"event": "clearAudio", "streamId": TEXT("stream_id", may_lack=True)},
    ),
)

EXOTEL = Dialect(
    name="exotel",
    formats={L16_8K: "audio/x-raw", L16_16K: "audio/x-raw"},
    id_prefixes={"stream_id": "", "call_id": "", "account_id": ""},
    on_clear=OnClear.PLAYED,
    packets_per_message=5,
    to_agent=_templates(
        Connected={"event": "connected"},
        Started={
            "event": "start",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "stream_sid": TEXT("stream_id", may_lack=True),
            "start": {
                "stream_sid": TEXT("stream_id"),
                "call_sid": TEXT("call_id"),
                "account_sid": TEXT("account_id"),
                "from": TEXT("from_number", may_lack=True),
                "to": TEXT("to_number", may_lack=True),
                "custom_parameters": STRINGS("parameters", may_lack=True),
                "media_format": {
                    "encoding": TEXT("encoding", may_lack=True),
                    "sample_rate": DIGITS("sample_rate", may_lack=True),
                    "bit_rate": "16",
                },
            },
        },
        CallerAudio={
            "event": "media",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "stream_sid": TEXT("stream_id", may_lack=True),
            "media": {
                "chunk": DIGITS("chunk", may_lack=True),
                "timestamp": DIGITS("timestamp_ms", may_lack=True),
                "payload": AUDIO("payload"),
            },
        },
        Dtmf={
            "event": "dtmf",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "stream_sid": TEXT("stream_id", may_lack=True),
            "dtmf": {"digit": TEXT("digit"), "duration": DIGITS("duration_ms", may_lack=True)},
        },
        MarkPlayed={
            "event": "mark",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "stream_sid": TEXT("stream_id", may_lack=True),
            "mark": {"name": TEXT("name")},
        },
        Stopped={
            "event": "stop",
            "sequence_number": DIGITS("sequence", may_lack=True),
            "stream_sid": TEXT("stream_id", may_lack=True),
            "stop": {
                "call_sid": TEXT("call_id", may_lack=True),
                "account_sid": TEXT("account_id", may_lack=True),
                "reason": TEXT("reason", may_lack=True),
            },
        },
    ),
    from_agent=_templates(
        AgentAudio={
            "event": "media",
            "stream_sid": TEXT("stream_id", may_lack=True),
            "media": {"payload": AUDIO("payload")},
        },
        Mark={"event": "mark", "stream_sid": TEXT("stream_id", may_lack=True), "mark": {"name": TEXT("name")}},
        Clear={"event": "clear", "stream_sid": TEXT("stream_id", may_lack=True)},
    ),
)

VONAGE = Dialect(
    name="vonage",
    formats={L16_16K: "audio/l16", L16_8K: "audio/l16"},
    on_clear=OnClear.DROPPED,
    is_binary=True,
    to_agent=_templates(
        Started={
            "event": "websocket:connected",
            "content-type": RATED("sample_rate", prefix="audio/l16;rate="),
            BESIDE: STRINGS("parameters"),
        },
        Dtmf={"event": "websocket:dtmf", "digit": TEXT("digit"), "duration": NUMBER("duration_ms", may_lack=True)},
        MarkPlayed={"event": "websocket:notify", "payload": OBJECT("name")},
        Cleared={"event": "websocket:cleared"},
    ),
    from_agent=_templates(
        Mark={"action": "notify", "payload": OBJECT("name")},
        Clear={"action": "clear"},
    ),
)

JAMBONZ = Dialect(
    name="jambonz",
    formats={L16_8K: "L16", L16_16K: "L16"},
    id_prefixes={"call_id": None, "account_id": None},
    on_clear=OnClear.CLEARED,
    is_binary=True,
    subprotocol="audio.jambonz.org",
    to_agent=_templates(
        Started={
            "callSid": TEXT("call_id"),
            "accountSid": TEXT("account_id", may_lack=True),
            "from": TEXT("from_number", may_lack=True),
            "to": TEXT("to_number", may_lack=True),
            "direction": "inbound",
            "sampleRate": NUMBER("sample_rate"),
            "mixType": "mono",
            "metadata": STRINGS("parameters", may_lack=True),
        },
        Dtmf={"event": "dtmf", "dtmf": TEXT("digit"), "duration": DIGITS("rtp_duration", may_lack=True)},
        MarkPlayed={
            "type": "mark",
            "data": {"name": TEXT("name"), "event": WORDS("is_cleared", word_if="cleared", word_if_not="playout")},
        },
    ),
    from_agent=_templates(
        Mark={"type": "mark", "data": {"name": TEXT("name")}},
        Clear={"type": "killAudio"},
        ForgetMarks={"type": "clearMarks"},
        HangUp={"type": "disconnect"},
    ),
)

DIALECTS = {d.name: d for d in (TWILIO, TELNYX, PLIVO, EXOTEL, VONAGE, JAMBONZ)}


def dialect_named(name: str) -> Dialect:
    """Return the dialect called `name`; raises ScenarioError with the legal names."""
    found = DIALECTS.get(name)
    if found is None:
        raise ScenarioError(f"media-stream dialect '{name}' is unknown; legal: {', '.join(DIALECTS)}")
    return found
