"""Offers that are plain SDP: WHIP (RFC 9725), and OpenAI-Realtime style. The calls behind them are those of /api/offer.

OPTIONS /whip            Accept-Post                                 (RFC 9725 4.2)
POST    /whip            SDP                       -> 201 SDP, Location, ETag, Accept-Patch
PATCH   /whip/{session}  late candidates, If-Match -> 204            412 another ETag, 428 none
DELETE  /whip/{session}                            -> 200
POST    /v1/realtime/calls   SDP, Bearer           -> 201 SDP, Location; events on the channel oai-events
"""

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from harness.protocols import small_webrtc, whip
from target_stack.edge.agent_call import EndReason
from target_stack.edge.call_facts import facts_from_headers
from target_stack.edge.calls import Calls, RequestRefusedError
from target_stack.edge.realtime_channel import RealtimeChannel
from target_stack.edge.rtvi_channel import RtviChannel

_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Answer = Callable[[web.Request, small_webrtc.Offer, type[RtviChannel]], Awaitable[small_webrtc.Answer]]
_CALL_ID = "X-Call-Id"
_BEARER = re.compile(r"Bearer +\S+", re.IGNORECASE)


class SdpOffers:
    """Both dialects. `answer` lets a call in as for every other offer; `calls` gives those that are active."""

    def __init__(self, answer: _Answer, calls: Callable[[], Calls]) -> None:
        self._answer = answer
        self._calls = calls

    def routes(self, counted: Callable[[_Route], _Route]) -> list[web.RouteDef]:
        """Return the routes; `counted` wraps those that take offers."""
        return [
            web.options("/whip", self._options),
            web.post("/whip", counted(self._post_whip)),
            web.patch("/whip/{session}", self._patch),
            web.delete("/whip/{session}", self._delete),
            web.post("/v1/realtime/calls", counted(self._post_realtime)),
        ]

    async def _options(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=204, headers={"Accept-Post": whip.SDP_TYPE})

    async def _post_whip(self, request: web.Request) -> web.Response:
        answer = await self._answer(request, await _offer(request), RtviChannel)
        headers = {"ETag": _etag(answer.pc_id or ""), "Accept-Patch": whip.FRAGMENT_TYPE}
        return _created(answer, f"/whip/{answer.pc_id}", headers)

    async def _post_realtime(self, request: web.Request) -> web.Response:
        if _BEARER.fullmatch(request.headers.get("Authorization", "")) is None:
            raise RequestRefusedError(401, "Authorization: Bearer and a token are missing; here any token will do")
        answer = await self._answer(request, await _offer(request), RealtimeChannel)
        return _created(answer, f"/v1/realtime/calls/{answer.pc_id}", {})

    async def _patch(self, request: web.Request) -> web.Response:
        session = self._session(request)
        _check_type(request, whip.FRAGMENT_TYPE)
        wanted = request.headers.get("If-Match")
        if wanted is None:
            raise RequestRefusedError(428, "PATCH needs If-Match with the session's ETag (RFC 9725 4.3.1)")
        if wanted == "*":
            raise RequestRefusedError(422, "ICE restarts are not supported")
        if wanted != _etag(session):
            raise RequestRefusedError(412, "If-Match is not the ETag of this ICE session")
        fragment = whip.parse_fragment(await request.read())
        lines = [*fragment.candidates, *([""] if fragment.is_complete else [])]
        candidates = tuple(small_webrtc.Candidate(line, fragment.mid) for line in lines)
        await self._calls().add_candidates(small_webrtc.Candidates(session, candidates))
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        self._calls().end(self._session(request), EndReason.CLIENT_DISCONNECTED)
        return web.Response()

    def _session(self, request: web.Request) -> str:
        session = request.match_info["session"]
        if session not in self._calls():
            raise RequestRefusedError(404, "this session is no call here: it ended or never was")
        return session


def _etag(session: str) -> str:
    """Return the entity tag of a session's only ICE session: there are no restarts."""
    return f'"{session}-1"'


def _created(answer: small_webrtc.Answer, location: str, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=201, text=answer.sdp, content_type=whip.SDP_TYPE, headers={"Location": location, **headers}
    )


async def _offer(request: web.Request) -> small_webrtc.Offer:
    _check_type(request, whip.SDP_TYPE)
    sdp = (await request.read()).decode(errors="replace")
    call_id = request.headers.get(_CALL_ID)
    facts = facts_from_headers(request.headers.get)
    carried = {**facts.parameters, **({"caller": facts.caller} if facts.caller else {})}
    return small_webrtc.Offer(sdp, request_data=carried if call_id is None else {**carried, "call_id": call_id})


def _check_type(request: web.Request, wanted: str) -> None:
    if request.content_type != wanted:
        raise RequestRefusedError(415, f"Content-Type is {request.content_type}; it must be {wanted}")
