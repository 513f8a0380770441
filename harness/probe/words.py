"""What a probe found, for people: one line a fact, in the order in which it happened."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.model.clock import ms_between
from harness.model.codec import to_json
from harness.model.records import CallRecord, MediaStats, Outcome, TurnRecord
from harness.model.sip_facts import Bye, SipFacts
from harness.probe.call import Probed

_WIDTH = 14
_SHOWN = 100
_DECISIVE = ("m=", "c=", "a=rtpmap:", "a=crypto:", "a=inactive", "a=sendonly", "a=recvonly")


def lines(probed: Probed, *, with_messages: bool = False) -> Iterator[str]:
    """Return the report; `with_messages` adds every message of the data channel, stream or dialog."""
    call, plan = probed.call, probed.plan
    dialect = f", {plan.target.dialect}" if plan.target.dialect else ""
    yield f"{plan.target.url} ({plan.target.transport}{dialect})"
    yield from map(_spread, _requests(call, is_goodbye=False))
    yield from map(_spread, _set_up(call))
    yield from map(_spread, _descriptions(call, whole=with_messages))
    yield from map(_spread, _agreed(call))
    yield from map(_spread, _conversation(probed))
    yield from map(_spread, _media(call.media))
    yield from map(_spread, _facts(call))
    if with_messages:
        yield from map(_spread, _messages(call))
    yield from map(_spread, _requests(call, is_goodbye=True))
    yield _spread(("outcome", _outcome(call)))


_Fact = tuple[str, str]


def _spread(fact: _Fact) -> str:
    return f"  {fact[0]:<{_WIDTH}} {fact[1]}".rstrip()


def _requests(call: CallRecord, *, is_goodbye: bool) -> Iterator[_Fact]:
    for request in call.details.get("requests", ()):
        if (request["method"] == "DELETE") is not is_goodbye:
            continue
        status = f"{request['status']} {request['reason']}".strip()
        yield request["method"], f"{request['url']}  {status}  {request['took_ms']:.1f} ms"
        for name, value in request["headers"].items():
            yield "", f"{name}: {value}"


def _set_up(call: CallRecord) -> Iterator[_Fact]:
    setup = call.setup
    steps = [
        ("STUN and TURN servers", setup.gather_ms),
        ("signalling", setup.signalling_ms),
        ("ICE", setup.ice_ms),
        ("DTLS", setup.dtls_ms),
        ("in all", setup.total_ms),
    ]
    told = [f"{name} {ms:.1f} ms" for name, ms in steps if ms is not None]
    if told:
        yield "set-up", ", ".join(told)


def _agreed(call: CallRecord) -> Iterator[_Fact]:
    details = call.details
    if "ice" in details:
        ice, (ours, theirs) = details["ice"], details["ice"]["types"]
        yield "ICE pair", f"{ice['local']} ({ours}) -> {ice['remote']} ({theirs})"
    if details.get("dtls"):
        dtls = details["dtls"]
        yield "DTLS", f"{dtls['version']}, {dtls['cipher']}, we are the {dtls['role']}"
    if "media" in details:
        yield "media", f"{details['media']['local']} -> {details['media']['remote']}"
    if "srtp" in details:
        yield "SRTP", str(details["srtp"])
    if "codec" in details:
        codec = details["codec"]
        number = f", payload type {codec['payload_type']}" if codec.get("payload_type") is not None else ""
        yield "codec", f"{codec['name']}{number}"
    elif call.codec is not None:
        yield "codec", call.codec
    yield from _connection(details)
    if "data_channel" in details:
        yield "data channel", "taken" if details["data_channel"] else "none"


def _connection(details: Mapping[str, Any]) -> Iterator[_Fact]:
    """Tell of a media stream's connection."""
    if details.get("steps_ms"):
        yield "connection", ", ".join(f"{step} {ms:.1f} ms" for step, ms in details["steps_ms"].items())
    for key in ("remote", "tls", "subprotocol", "audio", "uuid"):
        if details.get(key):
            yield key, _short(details[key])


def _conversation(probed: Probed) -> Iterator[_Fact]:
    call = probed.call
    if call.connected_at_ns is None:
        return
    if call.greeting_ms is not None:
        yield "greeting", f"heard {call.greeting_ms:.0f} ms after the call was up"
    elif probed.plan.expect_greeting:
        yield "greeting", f"none within {probed.plan.limits.greeting_timeout_ms / 1000:g} s"
    for turn in probed.turns:
        yield from _turn(turn)
    for text in call.details.get("texts", ()):
        who = "agent heard" if text["who"] == "user" else "agent said"
        at_ms = ms_between(call.connected_at_ns, text["at_ns"])
        yield who, f'"{text["text"]}" ({text["source"]}, told at {at_ms:.0f} ms)'


def _turn(turn: TurnRecord) -> Iterator[_Fact]:
    yield "said", f'"{turn.reference}" ({turn.utterance_id}, {turn.utterance_ms / 1000:.1f} s)'
    if turn.ttfb_ms is not None:
        early = ", cut in before our end" if turn.false_endpoint else ""
        yield "TTFB", f"{turn.ttfb_ms:.0f} ms{early}"
    elif turn.censored:
        yield "TTFB", f"no answer within {turn.waited_ms:.0f} ms"
    else:
        yield (
            "TTFB",
            "none: the agent cut in and was still speaking at our end" if turn.false_endpoint else "not measured",
        )
    if turn.stages is not None:
        stages = turn.stages
        parts = {
            "endpointing": stages.endpointing_ms,
            "stt": stages.stt_ms,
            "llm": stages.llm_ms,
            "tts": stages.tts_ms,
            "playout": stages.playout_ms,
        }
        told = ", ".join(f"{name} {ms:.0f}" for name, ms in parts.items() if ms is not None)
        yield "its stages", f"{told} ms ({stages.source}: the agent's own word)"


def _media(media: MediaStats) -> Iterator[_Fact]:
    told = f"{media.packets_sent} sent, {media.packets_received} received, {media.packets_lost} lost"
    told += f", {media.packets_discarded} discarded"
    jitter = "not measured" if media.jitter_ms is None else f"{media.jitter_ms:.1f} ms"
    trip = "not measured" if media.round_trip_ms is None else f"{media.round_trip_ms:.1f} ms"
    yield "packets", f"{told}; jitter {jitter}; round trip {trip}"


def _facts(call: CallRecord) -> Iterator[_Fact]:
    """Tell what only some transports have, as far as there is anything to tell."""
    if call.sip is not None:
        yield from _sip(call.sip)
    for name in ("stream", "relay"):
        facts = to_json(getattr(call, name, None))
        if isinstance(facts, dict):
            told = ", ".join(f"{key} {_short(value)}" for key, value in facts.items() if value)
            yield name, told


def _sip(sip: SipFacts) -> Iterator[_Fact]:
    """Tell of a SIP call's signalling: status lines with the time they came, in ms from the INVITE."""
    yield "SIP", f"by {sip.transport}, Call-ID {sip.call_id or 'none: no INVITE was sent'}"
    for registration in sip.registrations:
        took = "" if registration.delay_ms is None else f" after {registration.delay_ms:.1f} ms"
        yield "REGISTER", f"{registration.status or 'no answer'}{took}"
    lines = [f"{one.status} at {one.at_ms:.1f} ms" for one in sip.provisionals]
    if sip.call_id:
        final = "no final answer" if sip.status is None else f"{sip.status} {sip.reason}".strip()
        at = "" if sip.answer_delay_ms is None else f" at {sip.answer_delay_ms:.1f} ms"
        yield "INVITE", ", ".join([*lines, f"{final}{at}"])
    more = {
        "agent": sip.agent,
        "challenges": sip.challenges,
        "redirects": sip.redirects,
        "sent again": sip.retransmissions,
        "Retry-After": sip.retry_after_s,
        "early media": "yes" if sip.early_media else "",
        "changes by the agent": sip.changes,
        "hops": sip.hops,
    }
    if told := ", ".join(f"{name} {value}" for name, value in more.items() if value):
        yield "", told
    if sip.bye is not Bye.NONE:
        took = "" if sip.disconnect_delay_ms is None else f" after {sip.disconnect_delay_ms:.1f} ms"
        yield "BYE", f"{sip.bye.value}{took}"


def _descriptions(call: CallRecord, *, whole: bool) -> Iterator[_Fact]:
    """Tell what was offered and answered in SDP: whole, or the lines that decide."""
    for name in ("offered", "answered"):
        text = call.details.get(name)
        if not isinstance(text, str) or not text:
            continue
        kept = [line for line in text.splitlines() if whole or line.startswith(_DECISIVE)]
        yield from ((name if number == 0 else "", line) for number, line in enumerate(kept))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list):
        return "[" + "; ".join(map(_short, value)) + "]"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    return str(value)


def _messages(call: CallRecord) -> Iterator[_Fact]:
    since_ns = call.connected_at_ns or call.started_at_ns
    for message in call.details.get("messages", ()):
        text = " ".join(str(message["text"]).split())
        cut = "..." if len(text) > _SHOWN else ""
        yield f"{ms_between(since_ns, message['at_ns']):.0f} ms", f"{text[:_SHOWN]}{cut}"


def _outcome(call: CallRecord) -> str:
    if call.outcome is Outcome.COMPLETED:
        return "completed"
    return f"{call.outcome.value}: {call.cause.value}{f': {call.detail}' if call.detail else ''}"
