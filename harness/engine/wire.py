"""Messages between Locust and the engine: 4-byte big-endian length, then UTF-8 JSON. Sans-I/O.

To the engine                                   From the engine
  hello   protocol, worker, run_dir, corpus,      ready      protocol, pid, media_loop,
          needs (Needs) | null                               warnings (of too little room)
  place   plan, due_at_ns | null                  milestone  call_id, name, at_ns, value_ms | null
  hang_up call_id                                 turn       record (TurnRecord)
  stop    (end every call, then exit)             call       record (CallRecord): always the call's last message
                                                  health     sample (HealthSample)
                                                  error      message, fault ("scenario" | "generator"): fatal
                                                  stopped    (all records are out; the process exits)

Only milestones and records cross, never media. Milestones: "connected", "greeting", "turn_started", "turn_answered".
"""

import json
import struct
from typing import Any

from harness.model.errors import LocalProtocolError

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_LENGTH = struct.Struct(">I")
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

Message = dict[str, Any]


def encode(kind: str, **fields: Any) -> bytes:
    """Return one framed message of type `kind`."""
    body = _JSON.encode({"t": kind, **fields}).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise LocalProtocolError(f"message '{kind}' of {len(body)} bytes exceeds {MAX_MESSAGE_BYTES}")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Bytes in pieces of any size in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes as they came; return the messages they complete, in order."""
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_MESSAGE_BYTES:
                raise LocalProtocolError(f"frame of {length} bytes exceeds {MAX_MESSAGE_BYTES}: not our peer")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            message = json.loads(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            if not isinstance(message, dict) or "t" not in message:
                raise LocalProtocolError("frame is not an object with a 't' field")
            messages.append(message)
        return messages
