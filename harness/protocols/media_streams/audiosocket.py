"""Asterisk's AudioSocket: a call's audio over plain TCP, in frames of kind (1 byte), length (2, big-endian), payload.

    carrier -> agent: UUID of the call, then the caller's audio in real time, DTMF, HANGUP
    agent -> carrier: audio, at will; HANGUP or the end of the connection ends the call

Source: docs.asterisk.org, Configuration/Channel-Drivers/AudioSocket. There are no marks and no clear; what was sent
will be heard.
"""

import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.media_streams.dialect import L16_8K, L16_16K, AudioFormat
from harness.protocols.media_streams.messages import AgentAudio, CallerAudio, Dtmf, HangUp, Other, Started, Stopped

_HEADER = struct.Struct("!BH")
_UUID_BYTES = 16


class Kind(IntEnum):
    """What a frame carries."""

    HANGUP = 0x00
    UUID = 0x01
    DTMF = 0x03
    SLIN8 = 0x10
    SLIN12 = 0x11
    SLIN16 = 0x12
    SLIN24 = 0x13
    SLIN32 = 0x14
    SLIN44 = 0x15
    SLIN48 = 0x16
    SLIN96 = 0x17
    SLIN192 = 0x18
    ERROR = 0xFF


# 16-bit signed, little-endian, mono.
FORMATS = {L16_8K: Kind.SLIN8, L16_16K: Kind.SLIN16}
_AUDIO = {kind: audio for audio, kind in FORMATS.items()}
_OTHER_RATES = frozenset(k for k in Kind if Kind.SLIN8 <= k <= Kind.SLIN192) - frozenset(_AUDIO)


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """Return one frame; the payload has at most 65,535 bytes."""
    if len(payload) > 0xFFFF:
        raise LocalProtocolError(f"an AudioSocket frame of {len(payload)} bytes; legal: at most 65535")
    return _HEADER.pack(kind, len(payload)) + payload


class FrameReader:
    """Cuts a TCP stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the (kind, payload) of each frame that is complete now."""
        self._buffer += data
        found: list[tuple[int, bytes]] = []
        at = 0
        while len(self._buffer) - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer, at)
            end = at + _HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append((kind, bytes(self._buffer[at + _HEADER.size : end])))
            at = end
        del self._buffer[:at]
        return found


@dataclass(frozen=True, slots=True)
class AudioSocketCarrier:
    """The carrier's end (Asterisk's)."""

    call_uuid: uuid.UUID
    audio_format: AudioFormat

    def open(self) -> bytes:
        """Return what the connection begins with."""
        return frame(Kind.UUID, self.call_uuid.bytes)

    def audio(self, payload: bytes) -> bytes:
        """Return a piece of the caller's audio."""
        return frame(FORMATS[self.audio_format], payload)

    def dtmf(self, digit: str) -> bytes:
        """Return a pressed key."""
        return frame(Kind.DTMF, digit.encode("ascii"))

    def stop(self) -> bytes:
        """Return the hang-up."""
        return frame(Kind.HANGUP)

    def read(self, kind: int, payload: bytes) -> AgentAudio | HangUp | Other:
        """Return what the agent's frame says. Raises RemoteProtocolError for what Asterisk could not play."""
        if kind == Kind.HANGUP:
            return HangUp()
        if kind == Kind.ERROR:
            code = f" {payload[0]:#04x}" if payload else ""
            return Other(f"error{code}")
        return AgentAudio(_samples(kind, payload, self.audio_format))


class AudioSocketAgent:
    """The agent's end: what an AudioSocket server hears and says."""

    def __init__(self) -> None:
        self.started: Started | None = None
        self.audio_format = L16_8K

    def read(self, kind: int, payload: bytes) -> Started | CallerAudio | Dtmf | Stopped | Other:
        """Return what the carrier's frame says. Raises RemoteProtocolError."""
        if kind == Kind.UUID:
            if len(payload) != _UUID_BYTES:
                raise RemoteProtocolError(f"a UUID of {len(payload)} bytes; legal: 16")
            self.started = Started(call_id=str(uuid.UUID(bytes=payload)))
            return self.started
        if kind == Kind.HANGUP:
            return Stopped()
        if kind == Kind.DTMF:
            return _key(payload)
        if kind == Kind.ERROR:
            return Other("error")
        if kind in _AUDIO:
            self.audio_format = _AUDIO[Kind(kind)]
        return CallerAudio(_samples(kind, payload, self.audio_format))

    def audio(self, payload: bytes) -> bytes:
        """Return a piece of the agent's speech."""
        return frame(FORMATS[self.audio_format], payload)

    def hang_up(self) -> bytes:
        """Return the hang-up."""
        return frame(Kind.HANGUP)


def _key(payload: bytes) -> Dtmf:
    if len(payload) != 1 or payload not in b"0123456789*#ABCDabcd":
        raise RemoteProtocolError(f"{payload[:8]!r} is no key; legal: one of 0-9 * # A-D")
    return Dtmf(payload.decode())


def _samples(kind: int, payload: bytes, ours: AudioFormat) -> bytes:
    if kind in _OTHER_RATES or (kind in _AUDIO and _AUDIO[Kind(kind)] != ours):
        raise RemoteProtocolError(f"audio of kind {kind:#04x}, but the call is {FORMATS[ours]:#04x} ({ours.name})")
    if kind not in _AUDIO:
        raise RemoteProtocolError(f"a frame of unknown kind {kind:#04x}")
    if not payload or len(payload) % 2:
        raise RemoteProtocolError(f"{len(payload)} bytes of audio: not whole 16-bit samples")
    return payload
