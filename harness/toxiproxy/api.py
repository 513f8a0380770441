"""The HTTP API, as Toxiproxy's is described: proxies, their toxics, populate, reset, version; and /metrics."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from harness.toxiproxy.proxy import Proxy
from harness.toxiproxy.toxic import Toxic, ToxicError

VERSION = "2.12.0-callquake"
_Page = Callable[[web.Request], Awaitable[web.StreamResponse]]
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _ApiError(Exception):
    """A refusal: its status and what it says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The proxies by name, and the routes over them."""

    def __init__(self) -> None:
        self.proxies: dict[str, Proxy] = {}

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[_guard])
        app.add_routes(
            [
                web.get("/version", self._version),
                web.get("/metrics", self._metrics),
                web.post("/reset", self._reset),
                web.post("/populate", self._populate),
                web.get("/proxies", self._list),
                web.post("/proxies", self._create),
                web.get("/proxies/{proxy}", self._show),
                web.post("/proxies/{proxy}", self._update),
                web.patch("/proxies/{proxy}", self._update),
                web.delete("/proxies/{proxy}", self._delete),
                web.get("/proxies/{proxy}/toxics", self._toxics),
                web.post("/proxies/{proxy}/toxics", self._add),
                web.get("/proxies/{proxy}/toxics/{toxic}", self._toxic),
                web.post("/proxies/{proxy}/toxics/{toxic}", self._change),
                web.patch("/proxies/{proxy}/toxics/{toxic}", self._change),
                web.delete("/proxies/{proxy}/toxics/{toxic}", self._remove),
            ]
        )
        return app

    async def aclose(self) -> None:
        """Close every proxy."""
        for proxy in list(self.proxies.values()):
            await proxy.stop()

    async def put(self, said: dict[str, Any]) -> Proxy:
        """Return a new proxy, or the one of that name as it is asked for now. Raises what the API answers."""
        name, listen, upstream = (_text(said, field) for field in ("name", "listen", "upstream"))
        known = self.proxies.get(name)
        if known is not None and (known.listen, known.upstream) == (listen, upstream):
            return known
        if known is not None:
            await self.proxies.pop(name).stop()
        return await self._begin(said, name, listen, upstream)

    async def _begin(self, said: dict[str, Any], name: str, listen: str, upstream: str) -> Proxy:
        try:
            proxy = Proxy(name, listen, upstream)
            if said.get("enabled", True):
                await proxy.start()
        except ValueError as error:
            raise _ApiError(400, str(error)) from error
        except OSError as error:
            raise _ApiError(500, f"{listen}: {error.strerror or error}") from error
        self.proxies[name] = proxy
        return proxy

    # --- proxies ---

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({name: proxy.as_json() for name, proxy in self.proxies.items()})

    async def _create(self, request: web.Request) -> web.Response:
        said = await _object(request)
        if _text(said, "name") in self.proxies:
            raise _ApiError(409, "proxy already exists")
        return web.json_response((await self.put(said)).as_json(), status=201)

    async def _populate(self, request: web.Request) -> web.Response:
        said = await _json(request)
        if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
            raise _ApiError(400, "bad request body: a list of proxies")
        return web.json_response({"proxies": [(await self.put(one)).as_json() for one in said]}, status=201)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._proxy(request).as_json())

    async def _update(self, request: web.Request) -> web.Response:
        proxy, said = self._proxy(request), await _object(request)
        listen, upstream = str(said.get("listen", proxy.listen)), str(said.get("upstream", proxy.upstream))
        try:
            if (listen, upstream) != (proxy.listen, proxy.upstream):
                await proxy.move(listen, upstream)
            if said.get("enabled", proxy.is_enabled):
                await proxy.start()
            else:
                await proxy.stop()
        except ValueError as error:
            raise _ApiError(400, str(error)) from error
        except OSError as error:
            raise _ApiError(500, f"{listen}: {error.strerror or error}") from error
        return web.json_response(proxy.as_json())

    async def _delete(self, request: web.Request) -> web.Response:
        proxy = self._proxy(request)
        del self.proxies[proxy.name]
        await proxy.stop()
        return web.Response(status=204)

    async def _reset(self, _request: web.Request) -> web.Response:
        for proxy in list(self.proxies.values()):
            for toxic in proxy.toxics:
                proxy.remove(toxic)
            if proxy.name in self.proxies:
                await proxy.start()
        return web.Response(status=204)

    # --- toxics ---

    async def _toxics(self, request: web.Request) -> web.Response:
        return web.json_response([toxic.as_json() for toxic in self._proxy(request).toxics])

    async def _add(self, request: web.Request) -> web.Response:
        toxic = self._proxy(request).add(await _object(request))
        if toxic is None:
            raise _ApiError(409, "toxic already exists")
        return web.json_response(toxic.as_json())

    async def _toxic(self, request: web.Request) -> web.Response:
        return web.json_response(self._toxic_of(request)[1].as_json())

    async def _change(self, request: web.Request) -> web.Response:
        said = await _object(request)
        proxy, toxic = self._toxic_of(request)
        return web.json_response(proxy.change(toxic, said).as_json())

    async def _remove(self, request: web.Request) -> web.Response:
        proxy, toxic = self._toxic_of(request)
        proxy.remove(toxic)
        return web.Response(status=204)

    def _proxy(self, request: web.Request) -> Proxy:
        found = self.proxies.get(request.match_info["proxy"])
        if found is None:
            raise _ApiError(404, "proxy not found")
        return found

    def _toxic_of(self, request: web.Request) -> tuple[Proxy, Toxic]:
        proxy = self._proxy(request)
        toxic = proxy.toxic(request.match_info["toxic"])
        if toxic is None:
            raise _ApiError(404, "toxic not found")
        return proxy, toxic

    # --- counts ---

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.metrics(), headers={"Content-Type": _METRICS_TYPE})

    def metrics(self) -> str:
        """Return Toxiproxy's own counters of bytes, and what met each toxic."""
        lines = []
        for name, field in (("received", "received"), ("sent", "sent")):
            metric = f"toxiproxy_proxy_{name}_bytes_total"
            lines.append(f"# TYPE {metric} counter")
            for proxy in self.proxies.values():
                for stream, stack in proxy.stacks.items():
                    labels = _labels(direction=stream, listener=proxy.listen, proxy=proxy.name, upstream=proxy.upstream)
                    lines.append(f"{metric}{labels} {getattr(stack, field)}")
        for name, field in (("bytes", "met"), ("connections", "touched")):
            metric = f"callquake_toxic_{name}_total"
            lines.append(f"# TYPE {metric} counter")
            lines += [
                f"{metric}{_labels(proxy=proxy.name, toxic=toxic)} {getattr(stack, field)[toxic]}"
                for proxy in self.proxies.values()
                for stack in proxy.stacks.values()
                for toxic in dict.fromkeys([*stack.touched, *(toxic.name for toxic in stack.toxics)])
            ]
        return "\n".join(lines) + "\n"


@web.middleware
async def _guard(request: web.Request, handler: _Page) -> web.StreamResponse:
    """Refuse browsers, whose pages reach this machine's ports, and tell refusals as Toxiproxy does."""
    if "Origin" in request.headers or request.headers.get("User-Agent", "").startswith("Mozilla/"):
        return _refusal(403, "User agent not allowed")
    try:
        return await handler(request)
    except _ApiError as error:
        return _refusal(error.status, str(error))
    except ToxicError as error:
        return _refusal(400, str(error))
    except web.HTTPException as error:
        return _refusal(error.status, error.reason)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": message, "status": status}, status=status)


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise _ApiError(400, f"bad request body: {error}") from error


async def _object(request: web.Request) -> dict[str, Any]:
    said = await _json(request)
    if not isinstance(said, dict):
        raise _ApiError(400, "bad request body: an object")
    return said


def _text(said: dict[str, Any], field: str) -> str:
    value = said.get(field)
    if not isinstance(value, str) or not value:
        raise _ApiError(400, f"missing required field: {field}")
    return value


def _labels(**labels: str) -> str:
    escaped = (f'{name}="{value}"' for name, value in ((n, _escaped(v)) for n, v in labels.items()))
    return "{" + ",".join(escaped) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
