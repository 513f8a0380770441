"""The target's HTTP edge: offers in five dialects, health, metrics, and its own page.

GET  /                            the page
POST /offer                       {sdp, type}                        -> {sdp, type}
POST /api/offer                   Pipecat SmallWebRTC                -> {sdp, type, pc_id}
PATCH /api/offer                  late candidates                    -> {status}
POST /start                       Pipecat, optional                  -> {sessionId, iceConfig}
POST, PATCH /sessions/{id}/api/offer   as /api/offer
POST /whip, /v1/realtime/calls    plain SDP                          -> 201 (sdp_offers.py)
GET  /twilio  /stream             WebSocket: media streams of phone carriers
GET  /calls/{token}/events        WebSocket: RTVI of a call that has no data channel (SIP)
GET  /healthz  /readyz  /metrics
and what `extra_routes` adds, as the admin API (target_stack/chaos/admin.py)
"""

import asyncio
import contextvars
import json
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any

from aiohttp import web

from harness.model.errors import RemoteProtocolError
from harness.protocols import small_webrtc
from harness.protocols.json_fields import Fields, load_object
from target_stack.edge.agent_call import CallLimits, EndReason
from target_stack.edge.behind import Behind
from target_stack.edge.call_names import CallNames
from target_stack.edge.calls import MAX_CALLS, Calls, NewCall, RequestRefusedError
from target_stack.edge.counts import EdgeCounts
from target_stack.edge.event_streams import EventStreams
from target_stack.edge.health import health_of
from target_stack.edge.light.call import LightGround
from target_stack.edge.media_stream import StreamEdge
from target_stack.edge.rtvi_channel import RtviChannel
from target_stack.edge.sdp_offers import SdpOffers
from target_stack.edge.webrtc import WebRtcCall
from target_stack.edge.webrtc_kinds import WebRtc
from target_stack.frames import SessionFactory
from target_stack.readiness import Readiness
from target_stack.telemetry.metrics import render_edge, render_streams

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
# Issued by POST /start and not called yet; the oldest goes first.
MAX_STARTED_SESSIONS = 256
_RETRY_AFTER_S = "5"
# In the answer to an offer: where to go on by WebSocket, as a media stream, when no media come through.
FALLBACK_HEADER = "X-Callquake-Fallback"
# The call whose answer is about to leave, within the task that serves its request.
_answered: contextvars.ContextVar[str] = contextvars.ContextVar("answered", default="")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


class EdgeServer:
    """Takes calls on `host`:`port` (0 = any free port). `metrics` gives the pipeline's part of /metrics.

    `names`: shared with the other edges, where there are any. `behind`: callers come through a front. `webrtc`: what
    WebRTC calls are made of: aiortc's peer connection, a dozen calls a core, or our own, some hundreds.
    `has_fallback`: answers name a WebSocket that a caller may take when its ICE fails. `why_no_metrics`: refuses
    who may not read /metrics.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        host: str,
        port: int,
        *,
        readiness: Callable[[], Readiness],
        metrics: Callable[[], str],
        max_calls: int = MAX_CALLS,
        limits: CallLimits = CallLimits(),  # noqa: B008 -- frozen
        names: CallNames | None = None,
        extra_routes: Sequence[web.RouteDef] = (),
        behind: Behind | None = None,
        webrtc: WebRtc = "aiortc",
        has_fallback: bool = False,
        processes: Callable[[], list[dict[str, Any]]] | None = None,
        why_no_metrics: Callable[[web.Request], web.Response | None] = lambda _request: None,
    ) -> None:
        self._why_no_metrics = why_no_metrics
        self._has_fallback = has_fallback
        self._processes = processes
        self._webrtc = webrtc
        self._ground: LightGround | None = None
        self._behind = behind
        # Stands in every name that callers are given, so that a front finds whose session it is.
        self._prefix = f"{behind.name}-" if behind is not None else ""
        self._extra_routes = extra_routes
        self.counts = EdgeCounts()
        self.names = names or CallNames()
        self.streams = EventStreams(behind.name if behind is not None else "")
        self._sessions = sessions
        self._host, self._port = host, port
        self._readiness = readiness
        self._metrics = metrics
        self._max_calls = max_calls
        self._limits = limits
        self._page = files("target_stack.edge").joinpath("page.html").read_text(encoding="utf-8")
        # Session id -> the request data that came with POST /start.
        self._started: dict[str, dict[str, Any]] = {}
        self._calls: Calls | None = None
        self._media_streams: StreamEdge | None = None
        self._runner: web.AppRunner | None = None

    @property
    def calls(self) -> Calls:
        """The active calls; only between `start` and `aclose`."""
        if self._calls is None:
            raise RuntimeError("the edge is not started")
        return self._calls

    @property
    def media_streams(self) -> StreamEdge:
        """The calls of phone carriers; only between `start` and `aclose`."""
        if self._media_streams is None:
            raise RuntimeError("the edge is not started")
        return self._media_streams

    @property
    def stream_calls(self) -> int:
        """Calls of phone carriers there are now; none before `start`."""
        return 0 if self._media_streams is None else self._media_streams.counts.active_calls

    async def start(self) -> int:
        """Listen; return the bound port. OSError when the address cannot be bound."""
        self._calls = Calls(
            self._sessions,
            self.counts,
            self.names,
            self._max_calls,
            self._limits,
            prefix=self._prefix,
            new_call=self._call_maker(),
        )
        self._media_streams = StreamEdge(
            self._sessions,
            self.names,
            self._max_calls,
            self._limits,
            lambda: _why_not(self._readiness()),
            self.streams,
            lambda pc_id: self.calls.end(pc_id, EndReason.REPLACED),
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json])
        app.add_routes(self._routes())
        app.on_response_prepare.append(self._answering)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        port: int = self._runner.addresses[0][1]
        return port

    async def aclose(self) -> None:
        """Hang up every call, then stop listening."""
        if self._calls is not None:
            await self._calls.aclose()
        if self._ground is not None:
            await self._ground.aclose()
        if self._media_streams is not None:
            await self._media_streams.aclose()
        if self._runner is not None:
            await self._runner.cleanup()

    def _call_maker(self) -> NewCall:
        if self._webrtc == "aiortc":
            return WebRtcCall
        self._ground = LightGround()
        return self._ground.new_call

    async def adopt(self, sock: socket.socket, data: bytes) -> None:
        """Go on with a connection that was accepted elsewhere, of which `data` was read. OSError when it is gone."""
        if self._runner is None or self._runner.server is None:
            raise RuntimeError("the edge is not started")
        sock.setblocking(False)
        server = self._runner.server
        _transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(server, sock)
        protocol.data_received(data)

    async def _answering(self, request: web.Request, response: web.StreamResponse) -> None:
        pc_id = _answered.get()
        if pc_id:
            # The connection's next request is served by the same task.
            _answered.set("")
            scheme = "wss" if request.secure else "ws"
            response.headers[FALLBACK_HEADER] = f"{scheme}://{request.host}/stream?replaces={pc_id}"
        if self._behind is not None:
            self._behind.on_answer(request)

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._get_page),
            web.post("/offer", self._counted(self._post_plain_offer)),
            web.post("/api/offer", self._counted(self._post_offer)),
            web.patch("/api/offer", self._patch_offer),
            web.post("/start", self._post_start),
            web.post("/sessions/{session_id}/api/offer", self._counted(self._post_session_offer)),
            web.patch("/sessions/{session_id}/api/offer", self._patch_offer),
            *SdpOffers(self._answer, lambda: self.calls).routes(self._counted),
            *self.media_streams.routes(),
            web.get("/calls/{token}/events", self.streams.serve),
            web.get("/healthz", self._get_health),
            web.get("/readyz", self._get_ready),
            web.get("/metrics", self._get_metrics),
            *self._extra_routes,
        ]

    def _counted(self, route: _Route) -> _Route:
        """Count the offers by status."""

        async def counted(request: web.Request) -> web.StreamResponse:
            response = await _errors_as_json(request, route)
            self.counts.offers[response.status] += 1
            return response

        return counted

    async def _post_plain_offer(self, request: web.Request) -> web.Response:
        answer = await self._answer(request, small_webrtc.parse_offer(await request.read()))
        return _json_text(small_webrtc.build_answer(small_webrtc.Answer(answer.sdp)))

    async def _post_offer(self, request: web.Request) -> web.Response:
        answer = await self._answer(request, small_webrtc.parse_offer(await request.read()))
        return _json_text(small_webrtc.build_answer(answer))

    async def _post_session_offer(self, request: web.Request) -> web.Response:
        session_id = request.match_info["session_id"]
        if session_id not in self._started:
            raise RequestRefusedError(404, "this session id was not issued by POST /start, or is too old")
        offer = small_webrtc.parse_offer(await request.read())
        data = {**self._started[session_id], **offer.request_data}
        answer = await self._answer(
            request, small_webrtc.Offer(offer.sdp, offer.pc_id, offer.restart_pc, request_data=data)
        )
        return _json_text(small_webrtc.build_answer(answer))

    async def _answer(
        self, request: web.Request, offer: small_webrtc.Offer, channel: type[RtviChannel] = RtviChannel
    ) -> small_webrtc.Answer:
        readiness = self._readiness()
        if not readiness.ready:
            raise RequestRefusedError(503, _not_ready(readiness))
        transport = request.transport
        if transport is None:
            raise RequestRefusedError(400, "the connection closed before the offer was answered")
        # Where signalling came in, media can come in too.
        answer = await self.calls.answer(offer, transport.get_extra_info("sockname")[0], channel)
        _answered.set((self._has_fallback and answer.pc_id) or "")
        return answer

    async def _patch_offer(self, request: web.Request) -> web.Response:
        await self.calls.add_candidates(small_webrtc.parse_candidates(await request.read()))
        return web.json_response({"status": "success"})

    async def _post_start(self, request: web.Request) -> web.Response:
        text = await request.read()
        body = Fields("body", load_object(text, "body") if text.strip() else {})
        if body.text("transport", "webrtc") != "webrtc":
            raise RemoteProtocolError('body.transport must be "webrtc"')
        session_id = self._prefix + secrets.token_hex(16)
        self._started[session_id] = body.inner("body", {}).values
        while len(self._started) > MAX_STARTED_SESSIONS:
            del self._started[next(iter(self._started))]
        return web.json_response({"sessionId": session_id, "iceConfig": {"iceServers": []}})

    async def _get_page(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text=self._page, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def _get_health(self, request: web.Request) -> web.Response:
        del request
        health = health_of(self._readiness(), active_calls=self.counts.active_calls, max_calls=self._max_calls)
        if self._processes is not None:
            health["processes"] = self._processes()
        return web.json_response(health)

    async def _get_ready(self, request: web.Request) -> web.Response:
        del request
        readiness = self._readiness()
        body = {"ready": readiness.ready, "stages": readiness.stages}
        if readiness.ready:
            return web.json_response(body)
        return web.json_response(
            {**body, "error": _not_ready(readiness)}, status=503, headers={"Retry-After": _RETRY_AFTER_S}
        )

    async def _get_metrics(self, request: web.Request) -> web.Response:
        if (refused := self._why_no_metrics(request)) is not None:
            return refused
        text = self._metrics() + render_edge(self.counts) + render_streams(self.media_streams.counts)
        return web.Response(body=text.encode(), headers={"Content-Type": _METRICS_TYPE})


def _why_not(readiness: Readiness) -> str:
    return "" if readiness.ready else _not_ready(readiness)


def _not_ready(readiness: Readiness) -> str:
    waiting = [f"{stage} is {state}" for stage, state in readiness.stages.items() if state != "ready"]
    return f"the agent is not ready: {', '.join(waiting) or 'stages are loading'}"


def _json_text(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    headers = {"Retry-After": _RETRY_AFTER_S} if status == 503 else None
    return web.Response(
        text=json.dumps({"error": message}), status=status, headers=headers, content_type="application/json"
    )


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Route) -> web.StreamResponse:
    """Turn every error into {"error": ...}; a 500 is a bug of ours and logged."""
    try:
        return await handler(request)
    except RequestRefusedError as refusal:
        return _error(refusal.status, str(refusal))
    except RemoteProtocolError as error:
        return _error(400, str(error))
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    except web.HTTPException as error:
        response = _error(error.status, f"{error.reason}: {request.method} {request.path}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except asyncio.CancelledError:
        raise
    except ConnectionResetError:
        # Its client has gone; nothing is written.
        return web.Response()
    except Exception:  # noqa: BLE001 -- one broken request must not look like a dead server
        _log.exception("%s %s", request.method, request.path)
        return _error(500, "the edge failed; see its log")
