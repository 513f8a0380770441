"""Callers that keep badly to their protocols: slow, malformed, unacknowledged, gone; on any target that speaks them."""

from harness.faults.families.caller import caller_kind
from harness.faults.parameter import number
from harness.model.fault import Direction, Symptom, Unmoved

# What an agent owes to everybody else while one caller misbehaves.
_OTHERS = (Unmoved("ttfb_ms p50", 200.0),)

KINDS = (
    caller_kind(
        "caller.slow_signalling",
        "every message of the caller's signalling leaves late: requests, answers and goodbyes",
        (number("delay_ms", "how late", high=30_000),),
        "messages that left late",
        "calls over SIP with audio, or set up over HTTP (WebRTC, RTP)",
        (Symptom("setup_ms p50", Direction.UP, 100),),
        (Unmoved("ttfb_ms p50", 200.0), Unmoved("error_rate", 0.05)),
    ),
    caller_kind(
        "caller.no_ack",
        "the caller never acknowledges the answer to its INVITE: the agent says it again and again, and must give up",
        (),
        "ACKs that did not leave",
        "calls over SIP with audio",
        (Symptom("error_rate", Direction.UP, 0.1),),
        unmoved=_OTHERS,
    ),
    caller_kind(
        "caller.half_open",
        "callers vanish in the middle of a call: no packet, no message, no goodbye, and nothing that comes is answered",
        (number("after_ms", "after a call is up, or after the fault began", 2_000.0, high=600_000),),
        "packets and messages of theirs that did not leave, and the agent's that were not heard",
        "calls over WebRTC, RTP or SIP; they end as interrupted, in no ratio, when they miss the agent's packets",
        reverts="those that have not vanished stay; those that have do not come back",
        unmoved=_OTHERS,
    ),
    caller_kind(
        "caller.malformed_sip",
        "the caller's SIP is malformed: cut, without a Via, of another version, longer than it says, binary, endless",
        (number("ratio", "share of its messages, those said again included", 0.5, high=1),),
        "malformed messages that left",
        "calls over SIP with audio, over UDP: on a connection they would end everybody's calls",
        (Symptom("setup_ms p95", Direction.UP, 200),),
        unmoved=_OTHERS,
    ),
    caller_kind(
        "caller.malformed_sdp",
        "the caller's offer is no SDP: cut in half, without media, on one line, of impossible types, or no text",
        (),
        "calls whose offer was malformed",
        "calls over WebRTC or SIP, or RTP set up over HTTP",
        (Symptom("error_rate", Direction.UP, 0.1),),
        unmoved=_OTHERS,
    ),
    caller_kind(
        "caller.malformed_rtp",
        "beside its audio the caller sends datagrams that begin like RTP and are none: short, false lengths, noise",
        (number("per_s", "how many a second", 50.0, high=2_000),),
        "malformed datagrams that left",
        "calls over WebRTC, RTP or SIP with audio, but through no TURN server",
        unmoved=(Unmoved("ttfb_ms p50", 200.0), Unmoved("response_ratio", 0.05), Unmoved("wer", 0.05)),
        reverts="they end with the fault; it dies with its engine",
    ),
)
