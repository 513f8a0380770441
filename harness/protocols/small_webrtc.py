"""SmallWebRTC signalling (Pipecat): the JSON bodies of offer, answer and late candidates. No HTTP in here.

POST  /api/offer   Offer       ->  Answer      (the server gathers fully before it answers)
PATCH /api/offer   Candidates  ->  {"status": "success"}
POST  /start       {...}       ->  {"sessionId": ..., "iceConfig": {...}}   then /sessions/{sessionId}/api/offer
"""

import json
from dataclasses import dataclass, field
from typing import Any

from harness.model.errors import RemoteProtocolError
from harness.protocols.json_fields import Fields, load_object, shown

_MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """A client's offer; with `pc_id` it renegotiates that connection, with `restart_pc` it replaces it."""

    sdp: str
    pc_id: str | None = None
    restart_pc: bool = False
    request_data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer; `pc_id` is None from servers that speak plain {sdp, type}."""

    sdp: str
    pc_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One trickled candidate line without "a="; an empty one ends the candidates."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """Late candidates of the connection `pc_id`."""

    pc_id: str
    candidates: tuple[Candidate, ...]


def build_offer(offer: Offer) -> str:
    """Return the body of POST /api/offer."""
    body = {"sdp": offer.sdp, "type": "offer", "pc_id": offer.pc_id, "restart_pc": offer.restart_pc}
    # Pipecat's own server takes "request_data" at every route, its clients' "requestData" only below /sessions.
    return json.dumps({**body, "request_data": offer.request_data})


def build_answer(answer: Answer) -> str:
    """Return the answer's body; without `pc_id` it is the plain {sdp, type} dialect."""
    body = {"sdp": answer.sdp, "type": "answer"}
    return json.dumps(body if answer.pc_id is None else {**body, "pc_id": answer.pc_id})


def parse_offer(body: str | bytes) -> Offer:
    """Return the offer in `body`; RemoteProtocolError names the field that is missing or wrong."""
    fields = Fields("offer", load_object(body, "offer"))
    sdp = _description(fields, "offer")
    if not any(line.startswith("m=audio ") for line in sdp.splitlines()):
        raise RemoteProtocolError("offer.sdp has no m=audio section: an agent needs audio")
    # Pipecat's clients send the first spelling, its server documents the second.
    request = fields.inner("requestData", {}).values or fields.inner("request_data", {}).values
    return Offer(sdp, fields.text("pc_id", "") or None, fields.flag("restart_pc", False), dict(request))


def parse_answer(body: str | bytes) -> Answer:
    """Return the answer in `body`; RemoteProtocolError names the field that is missing or wrong."""
    fields = Fields("answer", load_object(body, "answer"))
    return Answer(_description(fields, "answer"), fields.text("pc_id", "") or None)


def parse_candidates(body: str | bytes) -> Candidates:
    """Return the late candidates in `body`; RemoteProtocolError names the field that is missing or wrong."""
    fields = Fields("body", load_object(body, "body"))
    pc_id = fields.text("pc_id")
    entries = fields.objects("candidates")
    if len(entries) > _MAX_CANDIDATES:
        raise RemoteProtocolError(f"body.candidates has {len(entries)} entries, more than {_MAX_CANDIDATES}")
    return Candidates(pc_id, tuple(_candidate(entry) for entry in entries))


def _candidate(entry: Fields) -> Candidate:
    has_index = entry.get("sdp_mline_index") is not None
    return Candidate(
        entry.text("candidate"),
        entry.text("sdp_mid", "") or None,
        entry.integer("sdp_mline_index") if has_index else None,
    )


def _description(fields: Fields, kind: str) -> str:
    sdp = fields.text("sdp")
    if fields.text("type") != kind:
        raise RemoteProtocolError(f'{fields.path}.type must be "{kind}", not {shown(fields.get("type"))}')
    if not sdp.startswith("v=0"):
        raise RemoteProtocolError(f"{fields.path}.sdp is no session description: it must start with v=0")
    return sdp
