"""Orders to the front. Who may give them: target_stack/chaos/admin.py.

POST /admin/servers/{name}/drain   {"deadline_s": 30, "replace": false}   no new calls; it ends when the last has ended
POST /admin/servers/{name}/resume                                         take calls again, where it has not ended yet
POST /admin/servers/{name}/start                                          begin one that was drained and ended
POST /admin/servers/{name}/kill    {"stays_down": false}                   end it as by a crash; kept down until `start`
GET  /admin/servers

any /admin/faults...            the same request to each media server -> {servers: [its answer, with its name]}
"""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from harness.model.errors import RemoteProtocolError
from harness.protocols.json_fields import Fields, load_object
from target_stack.chaos.admin import why_refused
from target_stack.servers.children import Children
from target_stack.servers.overview import Overview
from target_stack.servers.registry import State, UnknownServerError
from target_stack.servers.routing import Desk

_LONGEST_S = 86_400.0
# To undo a fault may be to load models anew; less than whoever asks us waits.
_UNDO_S = 50.0
_ALIVE = (State.READY, State.DRAINING, State.LOST)
_Answers = dict[str, tuple[int, str]]
_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Drain:
    # Monotonic, in s.
    until: float
    # A new process takes the place of the one that ends.
    is_replaced: bool


class Admin:
    """`watch` is to be called every now and then: it ends servers that are empty, or whose deadline has passed."""

    def __init__(self, desk: Desk, children: Children, overview: Overview, *, drain_s: float, token: str = "") -> None:
        self._desk = desk
        self._children = children
        self._overview = overview
        self._drain_s = drain_s
        self._token = token
        self._drains: dict[str, _Drain] = {}

    def pages(self) -> dict[tuple[str, str], _Route]:
        """Return the routes."""
        return {
            ("GET", "/admin/servers"): self._guarded(self._get_servers),
            ("POST", "/admin/servers/{name}/drain"): self._guarded(self._post_drain),
            ("POST", "/admin/servers/{name}/resume"): self._guarded(self._post_resume),
            ("POST", "/admin/servers/{name}/start"): self._guarded(self._post_start),
            ("POST", "/admin/servers/{name}/kill"): self._guarded(self._post_kill),
            ("*", "/admin/faults"): self._guarded(self._fault),
            ("*", "/admin/faults/{id}"): self._guarded(self._fault),
        }

    def watch(self) -> None:
        """End what is drained."""
        now = time.monotonic()
        for name, drain in list(self._drains.items()):
            server = self._desk.registry[name]
            is_over = server.state is State.GONE
            if not (is_over or server.is_drained or drain.until <= now):
                continue
            del self._drains[name]
            if not is_over:
                (self._children.replace if drain.is_replaced else self._children.stop)(name)

    # --- pages ---

    def _guarded(self, page: Callable[[web.Request], Awaitable[web.Response]]) -> _Route:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if (refused := why_refused(request, self._token)) is not None:
                return refused
            try:
                return await page(request)
            except UnknownServerError as error:
                return web.json_response({"error": str(error)}, status=404)
            except RemoteProtocolError as error:
                return web.json_response({"error": str(error)}, status=400)

        return guarded

    async def _get_servers(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"servers": [self._told(s.name) for s in self._desk.registry.all()]})

    async def _post_drain(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        text = await request.read()
        body = _fields(text, "deadline_s", "replace")
        deadline_s = body.number("deadline_s") if body.get("deadline_s") is not None else self._drain_s
        if not 0 <= deadline_s <= _LONGEST_S:
            raise RemoteProtocolError(f"body.deadline_s is {deadline_s:g}; legal: 0 to {_LONGEST_S:g}")
        is_replaced = body.flag("replace", False)
        self._desk.registry.drain(name, is_replaced=is_replaced)
        self._drains[name] = _Drain(time.monotonic() + deadline_s, is_replaced)
        return web.json_response(self._told(name))

    async def _post_resume(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._desk.registry.resume(name)
        self._drains.pop(name, None)
        return web.json_response(self._told(name))

    async def _post_start(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._desk.registry.resume(name)
        self._children.want(name)
        return web.json_response(self._told(name))

    async def _post_kill(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        text = await request.read()
        stays_down = _fields(text, "stays_down").flag("stays_down", False)
        told = self._told(name)
        self._children.crash(name, stays_down=stays_down)
        return web.json_response(told)

    async def _fault(self, request: web.Request) -> web.Response:
        """Pass a fault on: one of all media servers is a fault in each."""
        body, words = await request.read(), (request.method, request.raw_path)
        if request.method == "DELETE":
            answers = await self._overview.ask_all(*words, body, self._token, patience_s=_UNDO_S)
            answers = self._all_ended(answers)
        else:
            answers = await self._overview.ask_all(*words, body, self._token)
        told = [{"server": name, **_object(text)} for name, (_, text) in answers.items()]
        status = max((status for status, _ in answers.values()), default=503)
        return web.json_response({"servers": told}, status=status)

    def _all_ended(self, answers: _Answers) -> _Answers:
        """Return the answers of servers that had the fault, and of those that live and do not say what became of it."""
        silent = (s.name for s in self._desk.registry.all() if s.name not in answers and s.state in _ALIVE)
        told = {name: answer for name, answer in answers.items() if answer[0] != 404}
        # Those that have begun anew since have no such fault; where nobody has it, that is the answer.
        told |= {name: (504, json.dumps({"undone": False, "error": f"no answer in {_UNDO_S:g} s"})) for name in silent}
        return told or answers

    def _told(self, name: str) -> dict[str, Any]:
        server = self._desk.registry[name]
        drain = self._drains.get(name)
        return {
            "name": name,
            "state": str(server.state),
            "calls": server.load.calls,
            "in_use": server.in_use,
            "capacity": server.capacity,
            "pid": self._children[name].pid,
            "deaths": server.deaths,
            "drained_in_s": None if drain is None else max(0.0, round(drain.until - time.monotonic(), 1)),
        }


def _fields(text: bytes, *legal: str) -> Fields:
    """Return an order's fields; no text is none. Raises RemoteProtocolError."""
    fields = Fields("body", load_object(text, "body") if text.strip() else {})
    unknown = sorted(set(fields.values) - set(legal))
    if unknown:
        raise RemoteProtocolError(f"body.{unknown[0]}: unknown; legal: {', '.join(legal)}")
    return fields


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"error": text[:200]}
