"""The admin routes: who may break this agent, and how it is asked to.

POST   /admin/faults        {id, kind, parameters, filter: {share}, seed, lease_s} -> the fault's state; again = renewed
GET    /admin/faults        -> {faults: [state], kinds: [name]}
DELETE /admin/faults/{id}   -> the fault's last state
DELETE /admin/faults        -> {faults: [last states]}

Without a token the routes are for this machine alone: the connection must come from and go to a loopback address, name
a loopback host, and be no browser's (Origin) and no proxy's, whose own connection would be local. With a token every
request needs it as `Authorization: Bearer TOKEN`. /metrics is read by this machine without, and from elsewhere with it.
"""

import contextlib
import hmac
import ipaddress
import json
import re
from typing import Any

from aiohttp import web

from harness.model.errors import RemoteProtocolError
from harness.protocols.json_fields import Fields, load_object
from target_stack.chaos.chaos import MOST_LEASE_S, Chaos, ConflictError, UnknownFaultError
from target_stack.chaos.fault import FaultRequest

DEFAULT_LEASE_S = 10.0
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_FIELDS = ("id", "kind", "parameters", "filter", "seed", "lease_s")


class Admin:
    """The routes over one `Chaos`. `token` "" = only this machine may."""

    def __init__(self, chaos: Chaos, token: str = "") -> None:
        self._chaos = chaos
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        return [
            web.post("/admin/faults", self._post),
            web.get("/admin/faults", self._get),
            web.delete("/admin/faults", self._delete_all),
            web.delete("/admin/faults/{id}", self._delete),
        ]

    async def _post(self, request: web.Request) -> web.Response:
        if (refused := why_refused(request, self._token)) is not None:
            return refused
        try:
            return web.json_response(await self._chaos.begin(read_request(await request.read())))
        except ConflictError as error:
            return _error(409, str(error))
        except (ValueError, RemoteProtocolError) as error:
            return _error(400, str(error))

    async def _get(self, request: web.Request) -> web.Response:
        if (refused := why_refused(request, self._token)) is not None:
            return refused
        return web.json_response({"faults": self._chaos.states(), "kinds": list(self._chaos.kinds)})

    async def _delete(self, request: web.Request) -> web.Response:
        if (refused := why_refused(request, self._token)) is not None:
            return refused
        try:
            return web.json_response(await self._chaos.end(request.match_info["id"]))
        except UnknownFaultError as error:
            return _error(404, str(error))

    async def _delete_all(self, request: web.Request) -> web.Response:
        if (refused := why_refused(request, self._token)) is not None:
            return refused
        ended = []
        for fault_id in [state["id"] for state in self._chaos.states()]:
            # Somebody else may have ended it meanwhile.
            with contextlib.suppress(UnknownFaultError):
                ended.append(await self._chaos.end(fault_id))
        return web.json_response({"faults": ended})


def read_request(body: bytes) -> FaultRequest:
    """Return what was asked for. Raises RemoteProtocolError, ValueError."""
    fields = Fields("body", load_object(body, "body"))
    unknown = sorted(set(fields.values) - set(_FIELDS))
    if unknown:
        raise ValueError(f"body.{unknown[0]}: unknown; legal: {', '.join(_FIELDS)}")
    fault_id = fields.text("id")
    if not _ID.fullmatch(fault_id):
        raise ValueError("body.id: legal: 1 to 128 of letters, digits and _ . : -")
    chosen = fields.inner("filter", {})
    share = chosen.number("share") if "share" in chosen.values else 1.0
    if set(chosen.values) - {"share"} or not 0 <= share <= 1:
        raise ValueError("body.filter: legal: {share: a number from 0 to 1}")
    lease_s = fields.number("lease_s") if "lease_s" in fields.values else DEFAULT_LEASE_S
    if not 0 < lease_s <= MOST_LEASE_S:
        raise ValueError(f"body.lease_s: got {lease_s:g}; legal: above 0 to {MOST_LEASE_S:g}")
    seed = fields.integer("seed") if "seed" in fields.values else 0
    return FaultRequest(fault_id, fields.text("kind"), fields.inner("parameters", {}).values, share, seed, lease_s)


def why_refused(request: web.Request, token: str) -> web.Response | None:
    """Return the refusal of a request that may not break this agent, None for one that may."""
    if token:
        said = request.headers.get("Authorization", "")
        if hmac.compare_digest(said.encode(), f"Bearer {token}".encode()):
            return None
        return _error(401, "the admin API needs its token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    if _is_local(request):
        return None
    return _error(
        403,
        "without a token admin API and metrics are for this machine alone, and neither for browsers nor through "
        "proxies; legal: a request from and to a loopback address, or `callquake up --admin-token TOKEN`",
    )


def why_not_shown(request: web.Request, token: str) -> web.Response | None:
    """Return the refusal of a request that may not read the metrics, None for one that may."""
    return None if _is_local(request) else why_refused(request, token)


def _is_local(request: web.Request) -> bool:
    transport = request.transport
    if transport is None or "Origin" in request.headers or any(name in request.headers for name in _PROXIES):
        return False
    ends = (transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
    # The host that was asked for, too: a page's own name may have come to resolve to us (DNS rebinding).
    hosts = [str(end[0]) if isinstance(end, tuple) else "" for end in ends] + [request.url.host or ""]
    return all(_is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    text: Any = json.dumps({"error": message})
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
