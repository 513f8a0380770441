"""Who may break the agent, and who may read its metrics: this machine, or whoever has the token."""

import asyncio
import contextlib

import aiohttp
import pytest

from target_stack.__main__ import parser
from target_stack.app import Stack
from target_stack.config import config_from
from target_stack.servers.counts import FrontCounts
from target_stack.servers.front_http import FrontHttp
from target_stack.servers.overview import Overview
from target_stack.servers.registry import Registry, Rules
from target_stack.servers.routing import Desk

pytestmark = pytest.mark.loopback

TOKEN = "a-secret"
HERE: dict[str, str] = {}
# As a request from another machine looks, or one that somebody else sends through this one.
ELSEWHERE = [
    {"Host": "agent.example:8080"},
    {"Host": "10.0.0.5:8080"},
    {"Origin": "http://page.example"},
    {"X-Forwarded-For": "192.0.2.1"},
    {"Forwarded": "for=192.0.2.1"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "192.0.2.1"},
]
RIGHT, WRONG = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": "Bearer another"}
# Token of the agent, headers -> status of the admin API, status of the metrics.
ROWS = [
    ("", HERE, 200, 200),
    ("", {"Host": "localhost:1"}, 200, 200),
    ("", {"Host": "[::1]:1"}, 200, 200),
    *(("", headers, 403, 403) for headers in ELSEWHERE),
    ("", ELSEWHERE[0] | RIGHT, 403, 403),
    (TOKEN, HERE, 401, 200),
    (TOKEN, HERE | RIGHT, 200, 200),
    *((TOKEN, headers, 401, 401) for headers in ELSEWHERE),
    *((TOKEN, headers | WRONG, 401, 401) for headers in ELSEWHERE[:2]),
    *((TOKEN, headers | RIGHT, 200, 200) for headers in ELSEWHERE),
]


@contextlib.asynccontextmanager
async def agent(token):
    words = ["up", "--profile", "emulated", "--port", "0", *(["--admin-token", token] if token else [])]
    stack = Stack(config_from(parser({}).parse_args(words), {}))
    try:
        port = await stack.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await stack.aclose()


@contextlib.asynccontextmanager
async def front(token):
    """One without servers: its own pages."""
    registry, counts = Registry(Rules()), FrontCounts()
    desk = Desk(registry, counts, {})
    overview = Overview(registry, desk, counts, 5, lambda: "", token=token)
    http = FrontHttp("127.0.0.1", 0, desk, counts, retry_after_s=5, pages=overview.pages())
    try:
        yield f"http://127.0.0.1:{await http.start()}"
    finally:
        await http.aclose()
        await overview.aclose()


async def status_of(url, headers):
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("token", ["", TOKEN], ids=["no token", "token"])
def test_admin_and_metrics_of_an_agent_are_for_this_machine_or_the_token(token):
    async def scenario():
        async with agent(token) as url:
            return [
                (await status_of(f"{url}/admin/faults", headers), await status_of(f"{url}/metrics", headers))
                for with_token, headers, *_ in ROWS
                if with_token == token
            ]

    expected = [(admin, metrics) for with_token, _, admin, metrics in ROWS if with_token == token]
    assert asyncio.run(scenario()) == expected


@pytest.mark.parametrize("token", ["", TOKEN], ids=["no token", "token"])
def test_metrics_of_a_front_are_for_this_machine_or_the_token(token):
    async def scenario():
        async with front(token) as url:
            rows = [headers for with_token, headers, *_ in ROWS if with_token == token]
            told = [await status_of(f"{url}/metrics", headers) for headers in rows]
            # Health is for whoever balances load.
            assert await status_of(f"{url}/healthz", ELSEWHERE[0]) == 200
            return told

    assert asyncio.run(scenario()) == [metrics for with_token, _, _, metrics in ROWS if with_token == token]
