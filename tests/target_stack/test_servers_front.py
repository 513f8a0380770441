"""A front and three media servers as processes, on loopback: routing, refusal, draining, and the death of one."""

import asyncio
import contextlib
import json
import os
import signal
import time

import aiohttp
import pytest
from edge_peer import Client, until
from sip_peer import SipClient

from harness.protocols import rtvi
from harness.protocols.sip import events
from target_stack.__main__ import parser
from target_stack.config import config_from
from target_stack.servers.front import Front
from target_stack.servers.registry import State

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(170)]

SERVERS = 3


def configured(*arguments):
    words = ["up", "--profile", "emulated", "--port", "0", "--sip-port", "0", "--media-servers", str(SERVERS)]
    return config_from(parser({}).parse_args([*words, *arguments]), {})


class Running:
    """A front with its addresses."""

    def __init__(self, front, port, sip):
        self.front, self.url = front, f"http://127.0.0.1:{port}"
        host, _, number = sip.udp.partition(":")[2].rpartition(":")
        self.sip = (host, int(number))

    def calls(self):
        return {s.name: s.load.active for s in self.front.registry.all()}

    def pid(self, name):
        return self.front._children[name].pid

    async def post(self, path, **body):
        async with aiohttp.ClientSession() as http, http.post(self.url + path, json=body) as answer:
            return answer.status, await answer.json(), answer.headers

    async def get(self, path):
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as answer:
            return answer.status, await answer.text()


@contextlib.asynccontextmanager
async def running(*arguments):
    front = Front(configured(*arguments))
    try:
        port, sip = await front.start()
        async with asyncio.timeout(120):
            await front.ready()
        yield Running(front, port, sip)
    finally:
        await front.aclose()


def test_calls_of_every_kind_spread_and_one_servers_death_takes_only_its_own(request):
    # What is asked of an idle machine; a busy one shows that they go elsewhere at all.
    limit_s = 2.0 if request.config.getoption("--soak") else 30.0

    async def scenario():
        async with running("--calls-per-server", "4") as up, contextlib.AsyncExitStack() as callers:
            # What OPTIONS are answered, before anybody has asked by HTTP.
            about = up.front._overview.health()
            assert about["profile"] == "emulated"
            assert about["simulated"][0].startswith("target: emulated")
            sip = await callers.enter_async_context(SipClient(up.sip))
            tcp = await callers.enter_async_context(SipClient(up.sip, "tcp"))
            phones = [await sip.call(), await sip.call(), await tcp.call()]
            webs = [await callers.enter_async_context(Client(up.url)) for _ in range(3)]
            for web in webs:
                await web.until_said(rtvi.BotReady)
                await web.until_heard()
            socket = await callers.enter_async_context(aiohttp.ClientSession())
            async with socket.ws_connect(f"{up.url}/stream") as stream:
                assert stream._response.status == 101
                await until(lambda: sum(up.calls().values()) == 7, f"seven calls: {up.calls()}")
                assert sorted(up.calls().values()) == [2, 2, 3]
                assert all("callquake-s" in web.answer["pc_id"] for web in webs)
                await _lose_one(up, sip, phones, webs, limit_s)

    asyncio.run(scenario())


async def _lose_one(up, sip, phones, webs, limit_s):
    before, victim = up.calls(), webs[0].answer["pc_id"].split("-")[1]
    others = {name: calls for name, calls in before.items() if name != victim}
    os.kill(up.pid(victim), signal.SIGKILL)
    killed_at = time.monotonic()
    await until(lambda: up.front.registry[victim].state is not State.READY, "noticed")
    # New calls go elsewhere at once, by either way.
    async with Client(up.url) as web:
        assert web.answer["pc_id"].split("-")[1] != victim
        phone = await sip.call()
        took_s = time.monotonic() - killed_at
        await web.until_heard()
        phone.hang_up()
    print(f"a WebRTC and a SIP call were up elsewhere {took_s:.3f} s after the kill")
    assert took_s < limit_s
    assert up.front.counts.lost_calls[victim] == before[victim]
    # The others' calls go on: still there, and still heard.
    spared = next(w for w in webs if w.answer["pc_id"].split("-")[1] != victim)
    await until(lambda: {name: up.calls()[name] for name in others} == others, f"{others} spared: {up.calls()}")
    frames = len(spared.levels)
    await spared.until(lambda: len(spared.levels) > frames + 10, "audio of a spared call")
    # The dead server's callers are told where they ask; its name begins again.
    alive = [call for call in phones if not call.client.ends(call)]
    for call in alive:
        call.hang_up()
    await until(lambda: all(call.client.ends(call) for call in phones), "goodbyes answered")
    status, body, _ = await up.post("/api/offer", sdp="v=0", type="offer", pc_id=webs[0].answer["pc_id"])
    assert (status, body["error"]) == (404, f"this session was on media server {victim}, which has ended")
    await until(lambda: up.front.registry[victim].state is State.READY, "begun again", 60)
    assert up.front.registry[victim].deaths == 1


def test_full_is_refused_with_retry_after_and_draining_ends_a_server_when_its_last_call_has_ended():
    async def scenario():
        async with running("--calls-per-server", "1", "--sip-retry-after", "7") as up, SipClient(up.sip) as sip:
            calls = [await sip.call() for _ in range(SERVERS)]
            refused = await sip.dial()
            failed = await sip.until(events.Failed, refused)
            assert (failed.status, failed.retry_after_s) == (503, 7)
            sip.request("OPTIONS")
            options = await sip.until(events.RequestAnswered)
            assert options.response.status == 503
            assert options.response.get("x-callquake-load") == "full"
            status, body, headers = await up.post("/api/offer", sdp="v=0", type="offer")
            assert (status, headers["Retry-After"]) == (503, "7")
            assert body["error"] == "3 calls are active on 3 media servers, which is the limit"
            assert up.front.counts.refused == {"sip": 1, "webrtc": 1}
            await _drain(up, sip, calls)

    asyncio.run(scenario())


async def _drain(up, sip, calls):
    status, told, _ = await up.post("/admin/servers/s2/drain", deadline_s=60)
    assert (status, told["state"], told["in_use"]) == (200, "draining", 1)
    pid = up.pid("s2")
    for call in calls:
        call.hang_up()
    await until(lambda: up.front.registry["s2"].state is State.GONE, "ended", 30)
    await until(lambda: up.pid("s2") is None, f"process {pid} gone")
    # Asked to: no death, and nothing takes its place.
    assert up.front.registry["s2"].deaths == 0
    health = json.loads((await up.get("/healthz"))[1])
    assert health["ended_by_order"] == [{"name": "s2", "pid": pid}]
    assert {one["name"] for one in health["processes"]} == {"front", "s1", "s3"}
    await until(lambda: sum(up.calls().values()) == 0, "free")
    again = [await sip.call() for _ in range(SERVERS - 1)]
    assert len(again) == 2
    assert (await sip.until(events.Failed, await sip.dial())).status == 503
    text = (await up.get("/metrics"))[1]
    assert 'callquake_server_state{server="s2",state="gone"} 1' in text
    assert "callquake_sip_calls 2" in text
    status, told, _ = await up.post("/admin/servers/s2/start")
    assert status == 200
    await until(lambda: up.front.registry["s2"].state is State.READY, "ready again", 60)
    await sip.call()
    status, told, _ = await up.post("/admin/servers/s1/drain", deadline=60)
    assert (status, told["error"]) == (400, "body.deadline: unknown; legal: deadline_s, replace")
    status, told, _ = await up.post("/admin/servers/s1/kill", deadline_s=60)
    assert (status, told["error"]) == (400, "body.deadline_s: unknown; legal: stays_down")
    status, told, _ = await up.post("/admin/servers/s9/drain")
    assert (status, told["error"]) == (404, "no media server 's9'; legal: s1, s2, s3")


@pytest.mark.slow
def test_a_call_that_moved_away_from_a_silent_server_is_one_call():
    async def scenario():
        async with running("--calls-per-server", "4") as up, SipClient(up.sip) as sip:
            os.kill(up.pid("s1"), signal.SIGSTOP)
            try:
                # The emptiest, and first by name: it has the INVITE, and reads it when it is awake again.
                call = await sip.dial()
                await until(lambda: up.front.counts.given["s1", "sip"] == 1, "given")
                await sip.until(events.Answered, call)
                assert up.front.registry["s1"].state is State.LOST
            finally:
                os.kill(up.pid("s1"), signal.SIGCONT)
            await until(lambda: up.front.registry["s1"].state is State.READY, "heard again", 10)
            await until(lambda: up.front.registry["s1"].pending == 0, "decided on", 10)
            # Called off there: no second stream of audio, and no place taken for the 32 s until an ACK is missed.
            await until(lambda: up.calls()["s1"] == 0, "called off", 10)
            assert sum(up.calls().values()) == 1
            call.hang_up()
            await until(lambda: sum(up.calls().values()) == 0, "over where it is")

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_server_that_says_nothing_gets_no_calls_until_it_speaks_again():
    async def scenario():
        async with running("--calls-per-server", "4") as up, SipClient(up.sip) as sip:
            os.kill(up.pid("s1"), signal.SIGSTOP)
            try:
                await until(lambda: up.front.registry["s1"].state is State.LOST, "missed", 10)
                for _ in range(3):
                    await sip.call()
                assert up.front.counts.given["s1", "sip"] == 0
            finally:
                os.kill(up.pid("s1"), signal.SIGCONT)
            await until(lambda: up.front.registry["s1"].state is State.READY, "heard again", 10)
            await sip.call()
            assert up.front.counts.given["s1", "sip"] == 1

    asyncio.run(scenario())
