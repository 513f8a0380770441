"""A server from the command line or a file: it serves until it is asked to end."""

import asyncio
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from harness.model.errors import ScenarioError
from harness.toxiproxy.api import Api
from harness.toxiproxy.proxy import address

DEFAULT_API = "127.0.0.1:8474"


def proxy_from(word: str) -> dict[str, Any]:
    """Return the proxy that "NAME=LISTEN,UPSTREAM" says. Raises ScenarioError."""
    name, sign, addresses = word.partition("=")
    listen, comma, upstream = addresses.partition(",")
    if not (name and sign and comma):
        raise ScenarioError(f"--proxy {word}: legal: NAME=HOST:PORT,HOST:PORT (where it listens, where it goes on to)")
    for one in (listen, upstream):
        try:
            address(one)
        except ValueError as error:
            raise ScenarioError(f"--proxy {word}: {error}") from error
    return {"name": name, "listen": listen, "upstream": upstream}


def proxies_from(path: Path) -> list[dict[str, Any]]:
    """Return the proxies of a file as Toxiproxy's -config takes. Raises ScenarioError."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
        raise ScenarioError(f"{path}: legal: a list of {{name, listen, upstream, enabled}}")
    return said


async def serve(api_address: tuple[str, int], proxies: Sequence[dict[str, Any]], tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. Raises OSError where an address is taken, ScenarioError for a wrong proxy."""
    api, over, loop = Api(), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=1.0)
    try:
        await _populate(api, proxies)
        await runner.setup()
        await web.TCPSite(runner, *api_address).start()
        tell(f"API      http://{api_address[0]}:{runner.addresses[0][1]}")
        for proxy in api.proxies.values():
            tell(f"{proxy.name:<8} {proxy.listen} -> {proxy.upstream}")
        await over.wait()
    finally:
        await runner.cleanup()
        await api.aclose()


async def _populate(api: Api, proxies: Sequence[dict[str, Any]]) -> None:
    for said in proxies:
        try:
            await api.put(said)
        except Exception as error:
            raise ScenarioError(f"proxy {said.get('name')!r}: {error}") from error
