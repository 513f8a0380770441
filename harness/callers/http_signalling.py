"""SDP over HTTP for WebRTC: POST an offer, get an answer. Four dialects of one exchange, one row each.

dialect   body of the request                  answer                          the call's end   beside the audio
pipecat   {sdp, type, request_data}            200 {sdp, type, pc_id}          hang up          RTVI
json      the same                             200 {sdp, type}                 hang up          nothing
whip      SDP                                  201 SDP, Location, ETag, Link   DELETE Location  nothing
openai    SDP                                  200 or 201 SDP, Location        hang up          events on oai-events
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from harness.callers.http_exchange import Requests
from harness.callers.setup_failure import SetupFailure
from harness.callers.side_channel import RtviChannel, SideChannel
from harness.callers.side_openai import OpenAiChannel
from harness.model.errors import RemoteProtocolError
from harness.model.plan import IceServer
from harness.model.records import Cause
from harness.protocols import small_webrtc, whip

_JSON = "application/json"
_ANY_SUCCESS = range(200, 300)
# What a WHIP server says that takes no candidates after the offer (RFC 9725 4.3.1), or none in this state.
_NO_TRICKLE = (404, 405, 422, 501)
_TRICKLE_LIMIT_S = 5.0
# In an answer: the WebSocket by which the call may go on where no media come through.
_FALLBACK_HEADER = "X-Callquake-Fallback"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of agent is asked."""

    content_type: str
    # From an offer and the call's id.
    body: Callable[[str, str], str]
    # Raises RemoteProtocolError.
    sdp_of: Callable[[str], str]
    statuses: Sequence[int]
    side_channel: Callable[[], SideChannel] | None = None
    # Location names a resource that is deleted when the call ends.
    has_session: bool = False


def _build_json(sdp: str, call_id: str) -> str:
    return small_webrtc.build_offer(small_webrtc.Offer(sdp, request_data={"call_id": call_id}))


def _json_sdp(text: str) -> str:
    return small_webrtc.parse_answer(text).sdp


def _plain_sdp(text: str) -> str:
    if not text.startswith("v=0"):
        raise RemoteProtocolError("the body is no session description: it must start with v=0")
    return text


def _bare(sdp: str, _call_id: str) -> str:
    return sdp


DIALECTS = {
    "pipecat": Dialect(_JSON, _build_json, _json_sdp, _ANY_SUCCESS, RtviChannel),
    "json": Dialect(_JSON, _build_json, _json_sdp, _ANY_SUCCESS),
    # A 200 is not what the RFC says, and what some servers do.
    "whip": Dialect(whip.SDP_TYPE, _bare, _plain_sdp, (200, 201), has_session=True),
    "openai": Dialect(whip.SDP_TYPE, _bare, _plain_sdp, (200, 201), OpenAiChannel),
}


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent's answer."""

    sdp: str
    # From the request to the whole answer.
    took_ns: int
    # What a dialect with sessions calls this one; None for the others, and where the agent did not say.
    session_url: str | None = None
    # For If-Match of what is sent to the session.
    etag: str | None = None
    # STUN and TURN servers that the answer names.
    servers: tuple[IceServer, ...] = ()
    # As the agent wrote it; None where it named none.
    fallback_url: str | None = None


async def exchange(requests: Requests, offer_sdp: str, call_id: str, timeout_s: float) -> Answered:
    """POST the offer to the target and return its answer; SetupFailure says what the agent did instead."""
    target = requests.target
    dialect = DIALECTS[target.dialect]
    headers = {"Content-Type": dialect.content_type, "Accept": dialect.content_type, "X-Call-Id": call_id}
    body = dialect.body(offer_sdp, call_id).encode()
    reply = await requests.send("POST", target.url, headers, body, timeout_s)
    if reply.status not in dialect.statuses:
        raise reply.refusal(target.url)
    try:
        sdp = dialect.sdp_of(reply.text)
    except RemoteProtocolError as error:
        raise SetupFailure(Cause.SIGNALLING_REFUSED, f"{reply.url} answered no SDP: {error}") from error
    other_way = reply.headers.get(_FALLBACK_HEADER)
    if not dialect.has_session:
        return Answered(sdp, reply.took_ns, fallback_url=other_way)
    servers = whip.ice_servers(reply.links)
    return Answered(sdp, reply.took_ns, reply.location, reply.headers.get("ETag"), servers, other_way)


async def servers_before(requests: Requests, timeout_s: float) -> tuple[IceServer, ...]:
    """Return the STUN and TURN servers that a WHIP endpoint names on OPTIONS (RFC 9725 4.6); none where it fails."""
    reply = await requests.send("OPTIONS", requests.target.url, {}, None, timeout_s)
    return whip.ice_servers(reply.links) if reply.status in _ANY_SUCCESS else ()


async def trickle(requests: Requests, answered: Answered, fragment: whip.Fragment, bundled: Sequence[str]) -> bool:
    """PATCH candidates that were found after the offer (RFC 9725 4.3.2); False where the server takes none.

    SetupFailure where the server refuses this fragment, as a session that has changed meanwhile does.
    """
    if answered.session_url is None:
        return False
    headers = {"Content-Type": whip.FRAGMENT_TYPE}
    if answered.etag is not None:
        headers["If-Match"] = answered.etag
    body = whip.build_fragment(fragment, bundled).encode()
    reply = await requests.send("PATCH", answered.session_url, headers, body, _TRICKLE_LIMIT_S)
    if reply.status in _NO_TRICKLE:
        return False
    if reply.status not in _ANY_SUCCESS:
        raise reply.refusal(requests.target.url)
    return True


async def close(http: aiohttp.ClientSession) -> None:
    """Close the session and let its transports finish."""
    await http.close()
    await asyncio.sleep(0)
