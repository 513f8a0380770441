"""One stream's two ends over any row of the table: the carrier's, which our caller is, and the agent's.

Both are without I/O: what they return is a WebSocket message, str for text and bytes for binary, and so is what they
are given. What cannot be understood is a RemoteProtocolError; the stream goes on after it.
"""

import base64
import binascii
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.media_streams.dialect import AudioFormat, Dialect
from harness.protocols.media_streams.dialects import DIALECTS
from harness.protocols.media_streams.messages import (
    AgentAudio,
    AgentMessage,
    CallerAudio,
    CarrierMessage,
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
from harness.protocols.media_streams.templates import Template, load_message

WireMessage = str | bytes
# jambonz states durations in RTP time.
_RTP_TICKS_PER_MS = 8
_DTMF_MS = 160
_FIELDS: dict[type, frozenset[str]] = {
    kind: frozenset(f.name for f in fields(kind))
    for kind in (
        Connected, Started, CallerAudio, Dtmf, MarkPlayed, Cleared, Stopped,
        AgentAudio, Mark, Clear, ForgetMarks, HangUp,
    )
}  # fmt: skip


# What differs from one piece of the caller's audio to the next.
_OF_A_PIECE = frozenset({"payload", "timestamp_ms", "chunk", "sequence"})
# An agent that numbers its messages never repeats one.
_MOST_TRIES = 16


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling whom, and what the application gives the stream to carry."""

    from_number: str = ""
    to_number: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


class _Reader:
    """Reads one direction's messages."""

    def __init__(self, templates: Mapping[type, Template], audio: type, is_binary: bool) -> None:
        self._by_mark = {template.mark: (kind, template) for kind, template in templates.items()}
        self._audio = audio
        self._is_binary = is_binary

    def read(self, message: WireMessage) -> Any:
        """Return what it says, Other for what says nothing to a stream. Raises RemoteProtocolError."""
        if not isinstance(message, str):
            if not self._is_binary:
                raise RemoteProtocolError("a binary message, where this dialect has text only")
            return self._audio(payload=bytes(message))
        json, mark = load_message(message)
        found = self._by_mark.get(mark)
        if found is None:
            if mark is None:
                raise RemoteProtocolError("a message that does not say what it is: no event, type or action")
            return Other(f"{mark[0]}: {mark[1]}")
        kind, template = found
        values = template.read(json, "message" if mark is None else mark[1])
        return kind(**{name: value for name, value in values.items() if name in _FIELDS[kind]})


class _Repeated:
    """Reads the messages that are as one before was, but for their audio: without parsing JSON, which is most work."""

    def __init__(self, sample_bytes: int) -> None:
        self._sample_bytes = sample_bytes
        self._before, self._behind = "", ""
        self._last: AgentAudio | None = None
        self._tries = _MOST_TRIES

    def read(self, message: str) -> AgentAudio | None:
        """Return the audio of a message of the form known, None for any other."""
        last = self._last
        if last is None or not (message.startswith(self._before) and message.endswith(self._behind)):
            return None
        text = message[len(self._before) : -len(self._behind)]
        try:
            # Strict: what is no base64, a quote or a backslash above all, is for the parser.
            payload = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            return None
        if not payload or len(payload) % self._sample_bytes:
            return None
        return AgentAudio(payload, last.encoding, last.sample_rate)

    def learn(self, message: str, audio: AgentAudio) -> None:
        """Take note of the form of a message that was parsed; of an agent's whose form never stays, no more."""
        if self._tries <= 0:
            return
        self._tries -= 1
        text = f'"{base64.b64encode(audio.payload).decode()}"'
        # Nothing is escaped, so the text stands for itself; and it is there once, so nothing else is meant by it.
        if "\\" not in message and message.count(text) == 1:
            at = message.index(text)
            self._before, self._behind = message[: at + 1], message[at + len(text) - 1 :]
            self._last = audio


class CarrierEnd:
    """The carrier's end of one stream."""

    def __init__(self, dialect: Dialect, audio: AudioFormat, identity: Identity) -> None:
        if audio not in dialect.formats:
            legal = ", ".join(f.name for f in dialect.formats)
            raise LocalProtocolError(f"{dialect.name} does not carry {audio.name}; legal: {legal}")
        self.dialect = dialect
        self.audio_format = audio
        self._reader = _Reader(dialect.from_agent, AgentAudio, dialect.is_binary)
        self._sequence = dialect.first_sequence
        self._chunk = 0
        self._heard = _Repeated(audio.sample_bytes)
        self._started = Started(
            **{name: _new_id(prefix) for name, prefix in dialect.id_prefixes.items()},
            from_number=identity.from_number,
            to_number=identity.to_number,
            parameters=dict(identity.parameters),
            encoding=dialect.formats[audio],
            sample_rate=audio.sample_rate,
        )
        self._values: dict[str, Any] = {f.name: getattr(self._started, f.name) for f in fields(Started)}
        template = dialect.to_agent.get(CallerAudio)
        # All but what differs from piece to piece is written once.
        self._audio_form = "" if template is None else template.form(self._values, _OF_A_PIECE)

    @property
    def started(self) -> Started:
        """What the agent is told about the call."""
        return self._started

    def open(self) -> list[str]:
        """Return the messages that a stream begins with."""
        return [text for kind in (Connected, Started) if (text := self._write(kind)) is not None]

    def audio(self, payload: bytes | str, timestamp_ms: int) -> WireMessage:
        """Return the caller's next piece: its bytes, or their base64 where the dialect is one of text.

        `timestamp_ms` is the piece's place in the stream.
        """
        self._chunk += 1
        if self.dialect.is_binary:
            if isinstance(payload, str):
                raise LocalProtocolError(f"{self.dialect.name} carries bytes, not base64")
            return payload
        text = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
        values = self._values
        values["payload"], values["timestamp_ms"], values["chunk"] = text, timestamp_ms, self._chunk
        values["sequence"] = self._sequence
        self._sequence += 1
        return self._audio_form % values

    def dtmf(self, digit: str, timestamp_ms: int) -> str | None:
        """Return a pressed key, None where the dialect has no way to tell."""
        self._values.update(
            digit=digit, duration_ms=_DTMF_MS, rtp_duration=_DTMF_MS * _RTP_TICKS_PER_MS, timestamp_ms=timestamp_ms
        )
        return self._write(Dtmf)

    def mark_played(self, name: str, *, is_cleared: bool = False) -> str | None:
        """Return that a mark was reached."""
        self._values.update(name=name, is_cleared=is_cleared)
        return self._write(MarkPlayed)

    def cleared(self) -> str | None:
        """Return that the buffer was flushed, None where the dialect does not tell."""
        return self._write(Cleared)

    def stop(self) -> str | None:
        """Return the stream's last message, None where there is none but the close."""
        self._values["reason"] = "callended"
        return self._write(Stopped)

    def receive(self, message: WireMessage) -> AgentMessage | Other:
        """Return what the agent says. Raises RemoteProtocolError for what no carrier could use."""
        if type(message) is str:
            known = self._heard.read(message)
            if known is not None:
                return known
        read = self._reader.read(message)
        if isinstance(read, AgentAudio):
            self._check(read)
            if type(message) is str:
                self._heard.learn(message, read)
        return cast("AgentMessage | Other", read)

    def _check(self, audio: AgentAudio) -> None:
        ours = self.audio_format
        if not audio.payload:
            raise RemoteProtocolError("audio without a sample in it")
        if len(audio.payload) % ours.sample_bytes:
            raise RemoteProtocolError(f"{len(audio.payload)} bytes of audio: half a sample of {ours.name}")
        named = audio.encoding and audio.encoding.lower() != self.dialect.formats[ours].lower()
        if named or (audio.sample_rate and audio.sample_rate != ours.sample_rate):
            raise RemoteProtocolError(
                f"audio of {audio.encoding!r} at {audio.sample_rate} Hz, but the stream is "
                f"{self.dialect.formats[ours]} at {ours.sample_rate} Hz"
            )

    def _write(self, kind: type) -> str | None:
        template = self.dialect.to_agent.get(kind)
        if template is None:
            return None
        self._values["sequence"] = self._sequence
        if kind is not Connected:
            self._sequence += 1
        return template.write(self._values)


class AgentEnd:
    """The agent's end of one stream; the dialect is told from the first messages where it is not known."""

    def __init__(self, dialect: Dialect | None = None) -> None:
        self._dialect = dialect
        self._reader = None if dialect is None else _Reader(dialect.to_agent, CallerAudio, dialect.is_binary)
        self._started: Started | None = None

    @property
    def dialect(self) -> Dialect | None:
        """The dialect, None before it is known."""
        return self._dialect

    @property
    def started(self) -> Started | None:
        """What the carrier said of the call, None before it has."""
        return self._started

    @property
    def audio_format(self) -> AudioFormat:
        """The encoding of both directions. Raises RemoteProtocolError for one that the dialect does not have."""
        if self._dialect is None or self._started is None:
            raise LocalProtocolError("the stream has not started")
        return _format_of(self._dialect, self._started)

    def receive(self, message: WireMessage) -> CarrierMessage | Other:
        """Return what the carrier says. Raises RemoteProtocolError."""
        if self._reader is None:
            self._tell_dialect(message)
        if self._reader is None:
            return Connected()
        read = self._reader.read(message)
        if isinstance(read, Started):
            self._started = read
        return cast("CarrierMessage | Other", read)

    def audio(self, payload: bytes) -> WireMessage:
        """Return a piece of the agent's speech."""
        if self._known.is_binary:
            return payload
        audio = self.audio_format
        return self._write(
            AgentAudio, payload=payload, encoding=self._known.formats[audio], sample_rate=audio.sample_rate
        )

    def mark(self, name: str) -> str | None:
        """Return a mark, None where the dialect has none."""
        return self._write_if(Mark, name=name)

    def clear(self) -> str | None:
        """Return the wish to flush, None where the dialect has none."""
        return self._write_if(Clear)

    def hang_up(self) -> str | None:
        """Return the wish to end the call, None where closing is the only way."""
        return self._write_if(HangUp)

    @property
    def _known(self) -> Dialect:
        if self._dialect is None:
            raise LocalProtocolError("the stream's dialect is not known yet")
        return self._dialect

    def _write_if(self, kind: type, **values: Any) -> str | None:
        return None if kind not in self._known.from_agent else self._write(kind, **values)

    def _write(self, kind: type, **values: Any) -> str:
        stream_id = "" if self._started is None else self._started.stream_id
        return self._known.from_agent[kind].write({"stream_id": stream_id, **values})

    def _tell_dialect(self, message: WireMessage) -> None:
        """Find the dialect of a start message; "connected" ones tell too little and are passed over."""
        if not isinstance(message, str):
            raise RemoteProtocolError("audio before the message that says in which dialect the stream is")
        json, mark = load_message(message)
        if mark == ("event", "connected"):
            return
        for dialect in DIALECTS.values():
            template = dialect.to_agent[Started]
            if template.mark != mark:
                continue
            try:
                template.read(json, "start")
            except RemoteProtocolError:
                continue
            self._dialect = dialect
            self._reader = _Reader(dialect.to_agent, CallerAudio, dialect.is_binary)
            return
        raise RemoteProtocolError(f"no start message of a dialect we know; legal: {', '.join(DIALECTS)}")


def _format_of(dialect: Dialect, started: Started) -> AudioFormat:
    for audio, name in dialect.formats.items():
        is_rate = started.sample_rate in (0, audio.sample_rate)
        if is_rate and started.encoding.lower() in ("", name.lower()):
            return audio
    legal = ", ".join(f"{name} at {audio.sample_rate} Hz" for audio, name in dialect.formats.items())
    raise RemoteProtocolError(
        f"{dialect.name} stream of {started.encoding!r} at {started.sample_rate} Hz; legal: {legal}"
    )


def _new_id(prefix: str | None) -> str:
    return str(uuid.uuid4()) if prefix is None else prefix + secrets.token_hex(16)
