"""Plain SDP over HTTP, the reference responder's dialect: POST an offer, the answer comes in the body, DELETE ends it.

The request is `Content-Type: application/sdp`; 200 or 201 brings the answer, and `Location` names the call, which the
caller deletes when it hangs up. It is WHIP's exchange (RFC 9725) for plain RTP.
"""

from dataclasses import dataclass

from harness.callers.http_exchange import Requests
from harness.protocols.audio_sdp import MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent's answer; `call_url` is what ends the call, None where the agent named nothing."""

    sdp: str
    call_url: str | None


async def offer(requests: Requests, sdp: str, call_id: str, timeout_s: float) -> Answered:
    """POST an offer to the target and return its answer; SetupFailure says what the agent did instead."""
    headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE, "X-Call-Id": call_id}
    reply = await requests.send("POST", requests.target.url, headers, sdp.encode(), timeout_s)
    if reply.status not in (200, 201):
        raise reply.refusal(requests.target.url)
    return Answered(reply.text, reply.location)
