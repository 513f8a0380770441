"""What the front says of the agent as a whole: health, readiness, metrics. Servers are asked over loopback."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from target_stack.chaos.admin import why_not_shown
from target_stack.servers.counts import FrontCounts
from target_stack.servers.front_metrics import render_front
from target_stack.servers.merged_metrics import merged
from target_stack.servers.registry import Registry, Server
from target_stack.servers.routing import Desk
from target_stack.telemetry.exposition import by, counter
from target_stack.telemetry.process_facts import process_facts

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A server that does not answer a question within this is left out of the answer.
_PATIENCE_S = 2.0
_MOST_ENDED = 100
_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Overview:
    """Pages over all servers. `http_ports`: server -> where it can be asked; `cpu_s`: its CPU time so far."""

    def __init__(
        self,
        registry: Registry,
        desk: Desk,
        counts: FrontCounts,
        retry_after_s: int,
        shared: Callable[[], str],
        *,
        has_one_llm: bool = False,
        token: str = "",
    ) -> None:
        """`has_one_llm`: all servers ask the same language model's server. `token`: of who reads from elsewhere."""
        self._has_one_llm = has_one_llm
        self._token = token
        self.http_ports: dict[str, int] = {}
        self.cpu_s: dict[str, float] = {}
        # What each server last said of its process, and of those it has begun.
        self.processes: dict[str, list[dict[str, Any]]] = {}
        # Those that were drained or stopped, lately: who watches for deaths is to know that these are none.
        self._ended_by_order: deque[dict[str, Any]] = deque(maxlen=_MOST_ENDED)
        self._registry = registry
        self._desk = desk
        self._counts = counts
        self._retry_after_s = retry_after_s
        # Metrics of what the servers share.
        self._shared = shared
        self._client: aiohttp.ClientSession | None = None
        # What a server said of itself as it began, or the last time one was asked.
        self._described: dict[str, Any] = {}

    def pages(self) -> dict[tuple[str, str], _Route]:
        """Return the routes."""
        return {
            ("GET", "/healthz"): self._get_health,
            ("GET", "/readyz"): self._get_ready,
            ("GET", "/metrics"): self._get_metrics,
        }

    async def aclose(self) -> None:
        """Close the connections to the servers."""
        if self._client is not None:
            await self._client.close()

    def health(self) -> dict[str, Any]:
        """Return what is known now, without asking anybody: for SIP's OPTIONS."""
        numbers = {
            "status": "alive",
            "ready": self._is_ready(),
            "active_calls": self._registry.in_use,
            "max_calls": self._registry.capacity,
            "load": str(self._desk.overall()),
            "media_servers": [self.described(server) for server in self._registry.all()],
        }
        return {**self._described, **numbers}

    def described_as(self, about: dict[str, Any]) -> None:
        """Take note of what a server is made of; all are alike."""
        # Of its processes it tells by itself, and often.
        self._described = {name: told for name, told in about.items() if name != "processes"}

    def described(self, server: Server) -> dict[str, Any]:
        """Return one server's state as JSON."""
        return {
            "name": server.name,
            "state": str(server.state),
            "level": str(self._registry.level(server.name)),
            "calls": server.load.calls,
            "in_use": server.in_use,
            "capacity": server.capacity,
            "deaths": server.deaths,
            "cpu_s": round(self.cpu_s.get(server.name, 0.0), 2),
        }

    def _told_processes(self) -> list[dict[str, Any]]:
        """Return every process of the agent, a server's own under its name, and what that has begun behind it."""
        return [
            process_facts("front", self._registry.in_use),
            *(one for server in self.processes for one in self._processes_of(server)),
        ]

    def _processes_of(self, server: str) -> list[dict[str, Any]]:
        own, *begun = self.processes[server]
        return [{**own, "name": server}, *({**one, "name": f"{server}-{one['name']}"} for one in begun)]

    def gone(self, server: str, *, was_asked: bool) -> None:
        """Forget a server's process."""
        self.http_ports.pop(server, None)
        if was_asked and server in self.processes:
            self._ended_by_order += [{"name": one["name"], "pid": one["pid"]} for one in self._processes_of(server)]
        self.processes.pop(server, None)

    def _is_ready(self) -> bool:
        return not self._desk.closed_because and self._registry.capacity > 0

    # --- pages ---

    async def _get_health(self, request: web.Request) -> web.Response:
        del request
        await self._describe()
        told = {"processes": self._told_processes(), "ended_by_order": list(self._ended_by_order)}
        return web.json_response({**self.health(), **told})

    async def _get_ready(self, request: web.Request) -> web.Response:
        del request
        await self._describe()
        states = {s.name: str(s.state) for s in self._registry.all()}
        body: dict[str, Any] = {"ready": self._is_ready(), "media_servers": states, "load": str(self._desk.overall())}
        if self._is_ready():
            return web.json_response(body)
        why = self._desk.closed_because or self._registry.why_not() or "media servers are starting"
        return web.json_response({**body, "error": why}, status=503, headers={"Retry-After": str(self._retry_after_s)})

    async def _get_metrics(self, request: web.Request) -> web.Response:
        if (refused := why_not_shown(request, self._token)) is not None:
            return refused
        pages = await self.ask_all("GET", "/metrics")
        text = render_front(self._registry, self._counts) + counter(
            "server_cpu_seconds", "CPU time of a media server's process.", by("server", self.cpu_s)
        )
        told = [*(page for status, page in pages.values() if status == 200), self._shared()]
        text += merged(told, has_one_llm=self._has_one_llm)
        return web.Response(body=text.encode(), headers={"Content-Type": _METRICS_TYPE})

    async def _describe(self) -> None:
        """Ask one server what it is made of by now."""
        for name in list(self.http_ports):
            status, text = await self.ask(name, "GET", "/healthz")
            if status == 200:
                self.described_as(json.loads(text))
                return

    # --- asking servers ---

    async def ask_all(
        self, method: str, path: str, body: bytes = b"", token: str = "", *, patience_s: float = _PATIENCE_S
    ) -> dict[str, tuple[int, str]]:
        """Ask every server at once; return status and text of each that answered."""
        names = list(self.http_ports)
        answers = await asyncio.gather(
            *(self.ask(name, method, path, body, token, patience_s=patience_s) for name in names)
        )
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer[0]}

    async def ask(
        self,
        name: str,
        method: str,
        path: str,
        body: bytes = b"",
        token: str = "",
        *,
        patience_s: float = _PATIENCE_S,
    ) -> tuple[int, str]:
        """Ask one server; (0, why) where it does not answer."""
        if self._client is None:
            self._client = aiohttp.ClientSession()
        patience = aiohttp.ClientTimeout(total=patience_s)
        url = f"http://127.0.0.1:{self.http_ports.get(name, 0)}{path}"
        headers = {"Content-Type": "application/json"} if body else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._client.request(
                method, url, data=body or None, headers=headers, timeout=patience
            ) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return 0, str(error) or type(error).__name__
