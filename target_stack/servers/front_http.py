"""The front's HTTP face: sessions go to the media server that has room, everything of a session to the one that has it.

POST /offer /api/offer /whip /v1/realtime/calls     a session: handed to the chosen server      503, Retry-After
GET  /twilio /stream (WebSocket)                    the same
/sessions/sN-.../  /whip/callquake-sN-...  /calls/sN.../events  ?replaces=callquake-sN-...      handed to server sN
GET  /healthz /readyz /metrics                      over all servers
GET  /admin/servers   POST /admin/servers/{name}/drain | resume | start | kill
any other                                           handed to a server that is ready
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from target_stack.servers.counts import FrontCounts
from target_stack.servers.handover import is_upgrade, let_go, request_bytes, take_descriptor
from target_stack.servers.registry import State
from target_stack.servers.routing import Desk

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# What opens a session, and of which kind it is.
_SESSIONS = {
    ("POST", "/offer"): "webrtc",
    ("POST", "/api/offer"): "webrtc",
    ("POST", "/whip"): "webrtc",
    ("POST", "/v1/realtime/calls"): "webrtc",
    ("GET", "/twilio"): "stream",
    ("GET", "/stream"): "stream",
}
# A name that a server gave out: the server's own stands in it (edge/behind.py).
_NAMED = re.compile(r"(?:^|/|=|callquake-)(s[0-9]{1,3})[-.]")
_SESSION_OFFER = re.compile(r"/sessions/[^/]+/api/offer")

_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FrontHttp:
    """Serves between `start` and `aclose`. `pages`: (method, path) -> what the front itself answers."""

    def __init__(
        self,
        host: str,
        port: int,
        desk: Desk,
        counts: FrontCounts,
        *,
        retry_after_s: int,
        pages: dict[tuple[str, str], _Route],
    ) -> None:
        self._host, self._port = host, port
        self._desk = desk
        self._counts = counts
        self._retry_after_s = retry_after_s
        self._pages = pages
        self._runner: web.AppRunner | None = None
        self._tickets = 0

    async def start(self) -> int:
        """Listen; return the bound port. OSError when the address cannot be bound."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._errors_as_json])
        app.add_routes([web.route(method, path, page) for (method, path), page in self._pages.items()])
        app.router.add_route("*", "/{path:.*}", self._route)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        port: int = self._runner.addresses[0][1]
        return port

    async def aclose(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    # --- routing ---

    async def _route(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        server, kind = self._named(request, body), _kind(request)
        if server is not None:
            # A session that goes on, or a client that replaces its own: there, or nowhere.
            return self._to_named(request, body, server, kind)
        if kind is None:
            return self._to_any(request, body)
        given = self._desk.assign(kind, lambda name: self._hand_over(request, body, name, is_given=True))
        return self._gone(request) if given is not None else self._refused(kind, self._desk.why_not(kind))

    def _named(self, request: web.Request, body: bytes) -> str | None:
        """Return the server whose name stands in the path, the query, or the body's pc_id."""
        found = _NAMED.search(request.raw_path)
        if found is None and request.path.endswith("/api/offer"):
            found = _NAMED.search(_pc_id(body))
        return None if found is None or found[1] not in self._desk.registry else found[1]

    def _to_named(self, request: web.Request, body: bytes, server: str, kind: str | None) -> web.StreamResponse:
        registry = self._desk.registry
        if not registry.is_serving(server):
            if registry[server].state is State.LOST:
                return _error(503, f"media server {server} does not answer", self._retry())
            return _error(404, f"this session was on media server {server}, which has ended", {})
        if kind is not None and registry[server].is_draining:
            return self._refused(kind, f"media server {server} takes no new calls")
        if kind is not None:
            registry.give(server)
        if self._hand_over(request, body, server, is_given=kind is not None):
            return self._gone(request)
        return _error(503, f"media server {server} cannot be reached", self._retry())

    def _to_any(self, request: web.Request, body: bytes) -> web.StreamResponse:
        registry = self._desk.registry
        serving = [server.name for server in registry.all() if registry.is_serving(server.name)]
        for name in sorted(serving, key=lambda name: name != registry.choose()):
            if self._hand_over(request, body, name, is_given=False):
                return self._gone(request)
        return _error(503, registry.why_not() or "no media server can be reached", self._retry())

    def _hand_over(self, request: web.Request, body: bytes, server: str, *, is_given: bool) -> bool:
        self._tickets += 1
        data = request_bytes(request, body, self._tickets if is_given else None)
        descriptor = take_descriptor(request)
        try:
            return self._desk.send(
                server, "http", data, descriptor=descriptor, ticket=self._tickets if is_given else None
            )
        finally:
            os.close(descriptor)

    def _gone(self, request: web.Request) -> web.StreamResponse:
        let_go(request)
        # aiohttp finds the connection closed, and writes nothing of it.
        return web.Response()

    def _refused(self, kind: str, why: str) -> web.Response:
        self._counts.refused[kind] += 1
        return _error(503, why or "no media server could be reached", self._retry())

    def _retry(self) -> dict[str, str]:
        return {"Retry-After": str(self._retry_after_s)}

    @web.middleware
    async def _errors_as_json(self, request: web.Request, handler: _Route) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"the body is larger than {MAX_BODY_BYTES} bytes", {})
        except web.HTTPException as error:
            return _error(error.status, f"{error.reason}: {request.method} {request.path}", {})
        except (asyncio.CancelledError, ConnectionResetError):
            raise
        except Exception:  # noqa: BLE001 -- one broken request must not look like a dead front
            _log.exception("%s %s", request.method, request.path)
            return _error(500, "the front failed; see its log", {})


def _kind(request: web.Request) -> str | None:
    """Return the kind of session that the request opens, None where it opens none."""
    if request.method == "POST" and _SESSION_OFFER.fullmatch(request.path):
        return "webrtc"
    kind = _SESSIONS.get((request.method, request.path))
    return None if kind == "stream" and not is_upgrade(request) else kind


def _pc_id(body: bytes) -> str:
    """Return the pc_id of a SmallWebRTC body, "" where there is none: the server says what is wrong with it."""
    try:
        fields = json.loads(body)
    except ValueError:
        return ""
    named = fields.get("pc_id") if isinstance(fields, dict) else None
    return named if isinstance(named, str) else ""


def _error(status: int, message: str, headers: dict[str, str]) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)
