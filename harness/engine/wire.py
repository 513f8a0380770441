"""Messages between Locust and the engine: 4-byte big-endian length, then UTF-8 JSON. Sans-I/O.

To the engine                                   From the engine
  hello   protocol, worker, run_dir, corpus,      ready      protocol, pid, media_loop,
          needs (Needs) | null                               warnings (of too little room)
  place   plan, due_at_ns | null                  milestone  call_id, name, at_ns, value_ms | null
  alike   number, plan                            turn       record (TurnRecord)
  rows    number, calls: a list of lists          call       record (CallRecord): always the call's last message
  hang_up call_id                                 fault      name, evidence (Evidence), is_over
  fault   fault (Fault), for all calls it is for
  end_fault name
  stop    (end every call, then exit)
                                                  health     sample (HealthSample)
                                                  error      message, fault ("scenario" | "generator"): fatal
                                                  stopped    (all records are out; the process exits)

Only milestones and records cross, never media. Milestones: "connected", "greeting", "turn_started", "turn_answered".

Calls that differ from one plan in little are placed by the hundred: `alike` says the plan and gives it a number, each
of `rows` is [call_id, index, due_ms | null, due_at_ns | null, [name, phone_number, region, accent, patience], seed,
story | null]. Such are calls without audio: what they would say and bear does not matter.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.model.codec import to_json
from harness.model.errors import LocalProtocolError
from harness.model.plan import CallPlan

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
# Of one message: some ten thousand bytes.
MOST_ROWS = 256
_LENGTH = struct.Struct(">I")
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

Message = dict[str, Any]


def encode(kind: str, **fields: Any) -> bytes:
    """Return one framed message of type `kind`."""
    return framed(kind, _JSON.encode({"t": kind, **fields}).encode())


def framed(kind: str, body: bytes) -> bytes:
    """Return a message whose JSON somebody else has written."""
    if len(body) > MAX_MESSAGE_BYTES:
        raise LocalProtocolError(f"message '{kind}' of {len(body)} bytes exceeds {MAX_MESSAGE_BYTES}")
    return _LENGTH.pack(len(body)) + body


class AlikeWriter:
    """Writes calls that are alike as rows; one for each engine that is written to."""

    def __init__(self) -> None:
        # The number of each plan said, and what it was taken from, lest another object come to lie there.
        self._numbers: dict[tuple[Any, ...], tuple[int, CallPlan]] = {}

    def is_alike(self, plan: CallPlan) -> bool:
        """Whether a call may be written as a row."""
        sip = plan.target.sip
        return sip is not None and not sip.media and plan.impair_outgoing is None and plan.impair_incoming is None

    def write(self, calls: Sequence[tuple[CallPlan, int | None]]) -> bytes:
        """Return the messages that place `calls`, each a plan and when it is due."""
        messages: list[bytes] = []
        rows: dict[int, list[Any]] = {}
        for plan, due_at_ns in calls:
            key = (plan.caller, id(plan.target), id(plan.limits), plan.expect_greeting, plan.record, plan.trace)
            known = self._numbers.get(key)
            if known is None:
                known = self._numbers[key] = (len(self._numbers), plan)
                alike = replace(plan, call_id="", turns=())
                messages.append(encode("alike", number=known[0], plan=to_json(alike)))
            rows.setdefault(known[0], []).append(row_of(plan, due_at_ns))
        for number, found in rows.items():
            parts = (found[begin : begin + MOST_ROWS] for begin in range(0, len(found), MOST_ROWS))
            messages.extend(encode("rows", number=number, calls=part) for part in parts)
        return b"".join(messages)


def row_of(plan: CallPlan, due_at_ns: int | None) -> list[Any]:
    """Return what is a call's own."""
    who = plan.persona
    persona = [who.name, who.phone_number, who.region, who.accent, who.patience]
    return [plan.call_id, plan.index, plan.due_ms, due_at_ns, persona, plan.seed, plan.story]


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
