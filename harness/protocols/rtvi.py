"""RTVI 2.1.0, the JSON messages of Pipecat agents on a data channel, and SmallWebRTC's extras on the same channel.

    client                                          agent
      client-ready  ------------------------------->
                    <-------------------------------  bot-ready
                    <--  user-transcription, bot-started-speaking, metrics, ...   (no server clock: stamp on arrival)
      "ping: <ms>"  ------------------------------->  text; once one was seen, silence of 3 s means the client is gone

`parse` turns text into one typed message, `build` turns it back: `parse(build(m)) == m`. An unknown type is `Unknown`,
a malformed message is RemoteProtocolError; nothing else is raised, whatever the peer sends.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.json_fields import Fields, load_object, shown
from harness.protocols.rtvi_messages import (
    VERSION,
    BotInterrupted,
    BotLlmStarted,
    BotLlmStopped,
    BotLlmText,
    BotOutput,
    BotReady,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTranscription,
    BotTtsStarted,
    BotTtsStopped,
    BotTtsText,
    ClientReady,
    DisconnectBot,
    ErrorMessage,
    Message,
    Metrics,
    PeerLeft,
    Ping,
    ProcessorTime,
    Renegotiate,
    ServerMessage,
    TrackStatus,
    TurnTimingMessage,
    Unknown,
    UserInput,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscription,
)

__all__ = [
    "LABEL",
    "PING_INTERVAL_S",
    "PING_TIMEOUT_S",
    "VERSION",
    "BotInterrupted",
    "BotLlmStarted",
    "BotLlmStopped",
    "BotLlmText",
    "BotOutput",
    "BotReady",
    "BotStartedSpeaking",
    "BotStoppedSpeaking",
    "BotTranscription",
    "BotTtsStarted",
    "BotTtsStopped",
    "BotTtsText",
    "ClientReady",
    "DisconnectBot",
    "ErrorMessage",
    "Message",
    "Metrics",
    "PeerLeft",
    "Ping",
    "ProcessorTime",
    "Renegotiate",
    "ServerMessage",
    "StageTtfb",
    "TrackStatus",
    "TurnTimingMessage",
    "Unknown",
    "UserInput",
    "UserStartedSpeaking",
    "UserStoppedSpeaking",
    "UserTranscription",
    "build",
    "parse",
    "stage_ttfb",
]

LABEL = "rtvi-ai"
# A Pipecat server that has seen one ping calls its client gone after this long without another.
PING_TIMEOUT_S = 3.0
PING_INTERVAL_S = 1.0

_PING = re.compile(r"ping: *(\d{1,19})\s*", re.ASCII)
_SHOWN = 80
# "ElevenLabsTTSService" is Eleven, Labs, TTS, Service: a search in the whole name would find "sTT" in it.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_STAGE = re.compile(r"(?:stt|llm|tts)(?=(?:service)?$)")


# Messages that are their type alone, and those that add one text. Both directions read these tables.
_BARE: Mapping[str, type[Any]] = {
    "user-started-speaking": UserStartedSpeaking,
    "user-stopped-speaking": UserStoppedSpeaking,
    "bot-started-speaking": BotStartedSpeaking,
    "bot-stopped-speaking": BotStoppedSpeaking,
    "bot-interrupted": BotInterrupted,
    "bot-llm-started": BotLlmStarted,
    "bot-llm-stopped": BotLlmStopped,
    "bot-tts-started": BotTtsStarted,
    "bot-tts-stopped": BotTtsStopped,
    "disconnect-bot": DisconnectBot,
}
_TEXT: Mapping[str, type[Any]] = {
    "bot-llm-text": BotLlmText,
    "bot-tts-text": BotTtsText,
    "bot-transcription": BotTranscription,
}
_READY: Mapping[str, type[Any]] = {"client-ready": ClientReady, "bot-ready": BotReady}
_SIGNAL: Mapping[str, type[Any]] = {"renegotiate": Renegotiate, "peerLeft": PeerLeft}
_TYPE_OF = {cls: name for table in (_BARE, _TEXT, _READY, _SIGNAL) for name, cls in table.items()}


class StageTtfb(NamedTuple):
    """Time to first byte of each stage in ms as a Pipecat agent tells it; None where it did not."""

    stt_ms: float | None
    llm_ms: float | None
    tts_ms: float | None


def stage_ttfb(metrics: Metrics) -> StageTtfb:
    """Return the stages' TTFB by processor name ("DeepgramSTTService#0"); the last one of a stage holds.

    Pipecat sends 0 for every processor when a pipeline starts: 0 means "not measured yet".
    """
    found: dict[str, float] = {}
    for entry in metrics.ttfb:
        stage = _stage_of(entry.processor)
        if stage and entry.seconds > 0:
            found[stage] = entry.seconds * 1e3
    return StageTtfb(found.get("stt"), found.get("llm"), found.get("tts"))


def _stage_of(processor: str) -> str | None:
    found = (_STAGE.search(word.lower()) for word in _WORD.findall(processor))
    return next((stage[0] for stage in found if stage), None)


def build(message: Message) -> str:
    """Return the text that carries `message`; LocalProtocolError when it cannot be sent."""
    if isinstance(message, Ping):
        return f"ping: {message.sent_ms}"
    if isinstance(message, TrackStatus):
        return _dump(
            {
                "type": "signalling",
                "message": {
                    "type": "trackStatus",
                    "receiver_index": message.receiver_index,
                    "enabled": message.is_enabled,
                },
            }
        )
    name = _TYPE_OF.get(type(message))
    if name in _SIGNAL:
        return _dump({"type": "signalling", "message": {"type": name}})
    if isinstance(message, ClientReady | BotReady):
        about = {"about": {"library": message.library}} if message.library else {}
        return _dump({"label": LABEL, "type": name, "id": message.id, "data": {"version": message.version, **about}})
    if name in _BARE:
        return _dump({"label": LABEL, "type": name})
    kind, data = _content(message, name)
    return _dump({"label": LABEL, "type": kind, "data": data})


def _content(message: Message, name: str | None) -> tuple[str, Any]:
    kind: str | None = name
    data: Any = None
    match message:
        case BotLlmText(text) | BotTtsText(text) | BotTranscription(text):
            data = {"text": text}
        case UserTranscription(text, is_final, user_id, timestamp, turn):
            kind = "user-transcription"
            data = {"text": text, "user_id": user_id, "timestamp": timestamp, "final": is_final}
            data |= {"turn": turn} if turn else {}
        case UserInput(text, input_type, is_final, timestamp, user_id):
            kind = "user-input"
            data = {"text": text, "input_type": input_type, "timestamp": timestamp, "final": is_final}
            data |= {"user_id": user_id} if user_id else {}
        case BotOutput():
            kind, data = "bot-output", asdict(message)
        case Metrics(ttfb, processing):
            kind, data = "metrics", {"ttfb": _listed(ttfb), "processing": _listed(processing)}
        case TurnTimingMessage():
            kind, data = "server-message", {"type": "turn-timing", **asdict(message)}
        case ServerMessage():
            kind, data = "server-message", message.data
        case ErrorMessage(text, is_fatal):
            kind, data = "error", {"error": text, "fatal": is_fatal}
    if kind is None:
        raise LocalProtocolError(f"{type(message).__name__} is no RTVI message that can be sent")
    return kind, data


def _listed(times: tuple[ProcessorTime, ...]) -> list[dict[str, Any]]:
    return [{"processor": t.processor, "value": t.seconds} for t in times]


def _dump(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"{value.get('type')}: {error}") from error


def parse(text: str | bytes) -> Message:
    """Return the message in `text`; RemoteProtocolError says which field is wrong."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(f"RTVI message is not UTF-8 at byte {error.start}") from error
    if text.startswith("ping"):
        ping = _PING.fullmatch(text)
        if ping is None:
            raise RemoteProtocolError(f'keep-alive {text[:_SHOWN]!r} is not "ping: <ms>"')
        return Ping(int(ping[1]))
    whole = Fields("message", load_object(text, "RTVI message"))
    kind = whole.text("type")
    if kind == "signalling":
        return _signal(whole.inner("message"))
    if whole.get("label") != LABEL:
        raise RemoteProtocolError(f'{kind}: label must be "{LABEL}", not {shown(whole.get("label"))}')
    return _rtvi(kind, whole)


def _rtvi(kind: str, whole: Fields) -> Message:
    if kind in _BARE:
        bare: Message = _BARE[kind]()
        return bare
    reader = _READERS.get(kind)
    return Unknown(kind) if reader is None else reader(kind, whole)


def _signal(fields: Fields) -> Message:
    kind = fields.text("type")
    if kind == "trackStatus":
        return TrackStatus(fields.integer("receiver_index"), fields.flag("enabled"))
    if kind in _SIGNAL:
        signal: Message = _SIGNAL[kind]()
        return signal
    return Unknown(f"signalling/{kind}")


def _ready(kind: str, whole: Fields) -> Message:
    data = whole.inner("data", {})
    about = data.inner("about", {})
    ready: Message = _READY[kind](whole.text("id", ""), data.text("version", ""), about.text("library", ""))
    return ready


def _text(kind: str, whole: Fields) -> Message:
    message: Message = _TEXT[kind](whole.inner("data").text("text"))
    return message


def _transcription(kind: str, whole: Fields) -> Message:
    del kind
    data = whole.inner("data")
    return UserTranscription(
        data.text("text"),
        data.flag("final"),
        data.text("user_id", ""),
        data.text("timestamp", ""),
        0 if data.get("turn") is None else data.integer("turn"),
    )


def _user_input(kind: str, whole: Fields) -> Message:
    del kind
    data = whole.inner("data")
    return UserInput(
        data.text("text"),
        data.text("input_type"),
        data.flag("final"),
        data.text("timestamp", ""),
        data.text("user_id", ""),
    )


def _bot_output(kind: str, whole: Fields) -> Message:
    del kind
    data = whole.inner("data")
    return BotOutput(
        data.text("text"),
        data.text("aggregated_by", ""),
        # v1 clients are told "spoken" instead.
        data.flag("will_be_spoken", data.flag("spoken", True)),
        data.text("spoken_status", ""),
    )


def _metrics(kind: str, whole: Fields) -> Message:
    del kind
    data = whole.inner("data")
    return Metrics(_times(data, "ttfb"), _times(data, "processing"))


def _times(data: Fields, key: str) -> tuple[ProcessorTime, ...]:
    return tuple(ProcessorTime(e.text("processor"), e.number("value")) for e in data.objects(key))


def _server_message(kind: str, whole: Fields) -> Message:
    raw = whole.get("data")
    if not isinstance(raw, dict) or raw.get("type") != "turn-timing":
        return ServerMessage(raw)
    data = Fields(f"{kind}.data", raw)
    return TurnTimingMessage(
        data.integer("turn"),
        data.number("endpointing_ms"),
        data.number("stt_ms"),
        data.number("llm_ms"),
        data.number("tts_ms"),
        data.number("playout_ms"),
        data.number("llm_ttft_ms"),
        data.number("queue_ms"),
    )


def _error(kind: str, whole: Fields) -> Message:
    del kind
    data = whole.inner("data")
    return ErrorMessage(data.text("error"), data.flag("fatal", False))


_READERS: Mapping[str, Callable[[str, Fields], Message]] = {
    **dict.fromkeys(_READY, _ready),
    **dict.fromkeys(_TEXT, _text),
    "user-transcription": _transcription,
    "user-input": _user_input,
    "bot-output": _bot_output,
    "metrics": _metrics,
    "server-message": _server_message,
    "error": _error,
}
