"""OpenAI's Realtime events on the data channel `oai-events`: JSON text in, events out, and back. No I/O.

Of the some fifty server events those are read that tell what was heard and said; the others are `Other`. Both names of
an event are read where it was renamed (response.audio_transcript.* became response.output_audio_transcript.*).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.protocols.json_fields import Fields, load_object

CHANNEL = "oai-events"
MAX_MESSAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Session:
    """session.created or session.updated."""

    id: str = ""
    model: str = ""
    # What the caller says will be told as text.
    transcribes: bool = False
    is_update: bool = False


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """input_audio_buffer.speech_started; `at_ms` on the agent's clock, from the session's beginning."""

    item_id: str
    at_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """input_audio_buffer.speech_stopped."""

    item_id: str
    at_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class UserTranscript:
    """conversation.item.input_audio_transcription.completed; of one item the last one holds."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class UserTranscriptFailed:
    """conversation.item.input_audio_transcription.failed."""

    item_id: str
    message: str


@dataclass(frozen=True, slots=True)
class AgentTranscriptDelta:
    """response.output_audio_transcript.delta: the next words of what is said."""

    response_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """response.output_audio_transcript.done: all of what was said."""

    response_id: str
    text: str


@dataclass(frozen=True, slots=True)
class OutputAudio:
    """output_audio_buffer.started, .stopped or .cleared (WebRTC only)."""

    is_playing: bool
    is_cleared: bool = False


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """response.done; `usage` as the agent counts tokens, {} where it does not."""

    response_id: str
    # completed, cancelled, failed or incomplete.
    status: str
    message: str = ""
    usage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """The event "error": most are of one request only, and the session goes on."""

    message: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """An event that says nothing of what was heard or said."""

    type: str


Event = (
    Session
    | SpeechStarted
    | SpeechStopped
    | UserTranscript
    | UserTranscriptFailed
    | AgentTranscriptDelta
    | AgentTranscript
    | OutputAudio
    | ResponseDone
    | Problem
    | Other
)


def parse(text: str | bytes) -> Event:
    """Return the event in `text`; RemoteProtocolError names the field that is missing or wrong."""
    fields = Fields("event", load_object(text, "event"))
    kind = fields.text("type")
    read = _READERS.get(kind)
    return Other(kind) if read is None else read(fields)


def _session(fields: Fields) -> Session:
    session = fields.inner("session", {})
    audio_in = session.inner("audio", {}).inner("input", {})
    is_told = audio_in.get("transcription") or session.get("input_audio_transcription")
    is_update = fields.text("type") == "session.updated"
    return Session(session.text("id", ""), session.text("model", ""), bool(is_told), is_update)


def _at_ms(fields: Fields, key: str) -> float:
    return 0.0 if fields.get(key) is None else fields.number(key)


def _response_done(fields: Fields) -> ResponseDone:
    response = fields.inner("response", {})
    details = response.inner("status_details", {})
    message = details.inner("error", {}).text("message", "") or details.text("reason", "")
    usage = response.inner("usage", {}).values
    return ResponseDone(response.text("id", ""), response.text("status", ""), message, usage)


def _problem(fields: Fields) -> Problem:
    error = fields.inner("error", {})
    return Problem(error.text("message", ""), error.text("code", "") or error.text("type", ""))


def _transcription_failed(fields: Fields) -> UserTranscriptFailed:
    return UserTranscriptFailed(fields.text("item_id", ""), fields.inner("error", {}).text("message", ""))


def _delta(fields: Fields) -> AgentTranscriptDelta:
    return AgentTranscriptDelta(fields.text("response_id", ""), fields.text("delta", ""))


def _transcript(fields: Fields) -> AgentTranscript:
    return AgentTranscript(fields.text("response_id", ""), fields.text("transcript", ""))


_READERS: dict[str, Callable[[Fields], Event]] = {
    "session.created": _session,
    "session.updated": _session,
    "input_audio_buffer.speech_started": lambda f: SpeechStarted(f.text("item_id", ""), _at_ms(f, "audio_start_ms")),
    "input_audio_buffer.speech_stopped": lambda f: SpeechStopped(f.text("item_id", ""), _at_ms(f, "audio_end_ms")),
    "conversation.item.input_audio_transcription.completed": lambda f: UserTranscript(
        f.text("item_id", ""), f.text("transcript", "")
    ),
    "conversation.item.input_audio_transcription.failed": _transcription_failed,
    "response.output_audio_transcript.delta": _delta,
    "response.audio_transcript.delta": _delta,
    "response.output_audio_transcript.done": _transcript,
    "response.audio_transcript.done": _transcript,
    "output_audio_buffer.started": lambda _: OutputAudio(True),
    "output_audio_buffer.stopped": lambda _: OutputAudio(False),
    "output_audio_buffer.cleared": lambda _: OutputAudio(False, is_cleared=True),
    "response.done": _response_done,
    "error": _problem,
}


def build(event: Event, event_id: str) -> str:
    """Return the text of a server event, in the names of the day."""
    kind, content = _written(event)
    return json.dumps({"type": kind, "event_id": event_id, **content})


def _written(event: Event) -> tuple[str, dict[str, Any]]:
    match event:
        case Session():
            transcription = {"model": "agent"} if event.transcribes else None
            session = {
                "type": "realtime",
                "id": event.id,
                "model": event.model,
                "audio": {"input": {"transcription": transcription}},
            }
            return "session.updated" if event.is_update else "session.created", {"session": session}
        case SpeechStarted():
            content = {"audio_start_ms": round(event.at_ms), "item_id": event.item_id}
            return "input_audio_buffer.speech_started", content
        case SpeechStopped():
            content = {"audio_end_ms": round(event.at_ms), "item_id": event.item_id}
            return "input_audio_buffer.speech_stopped", content
        case UserTranscript():
            content = {"item_id": event.item_id, "content_index": 0, "transcript": event.text}
            return "conversation.item.input_audio_transcription.completed", content
        case UserTranscriptFailed():
            content = {"item_id": event.item_id, "content_index": 0, "error": {"message": event.message}}
            return "conversation.item.input_audio_transcription.failed", content
        case _:
            return _written_reply(event)


def _written_reply(event: Event) -> tuple[str, dict[str, Any]]:
    match event:
        case AgentTranscriptDelta():
            return "response.output_audio_transcript.delta", {"response_id": event.response_id, "delta": event.text}
        case AgentTranscript():
            return "response.output_audio_transcript.done", {"response_id": event.response_id, "transcript": event.text}
        case OutputAudio():
            word = "started" if event.is_playing else "cleared" if event.is_cleared else "stopped"
            return f"output_audio_buffer.{word}", {}
        case ResponseDone():
            details = {"status_details": {"error": {"message": event.message}}} if event.message else {}
            response = {"id": event.response_id, "status": event.status, **details, "usage": event.usage}
            return "response.done", {"response": response}
        case Problem():
            return "error", {"error": {"type": "server_error", "code": event.code, "message": event.message}}
        case Other():
            return event.type, {}
        case _:
            raise TypeError(f"{type(event).__name__} is written elsewhere")
