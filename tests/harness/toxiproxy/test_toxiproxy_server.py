"""Our TCP proxy: its API answers as Toxiproxy's is described, and each toxic does to bytes what it says."""

import asyncio
import contextlib
import json
import socket

import aiohttp
import pytest
from aiohttp import web

from harness.model.errors import ScenarioError
from harness.toxiproxy.api import Api
from harness.toxiproxy.proxy import Proxy, address
from harness.toxiproxy.serving import proxies_from, proxy_from
from harness.toxiproxy.toxic import ToxicError, toxic_from

pytestmark = pytest.mark.loopback


class Hop:
    """A server, a proxy before it, and the API."""

    def __init__(self, http, api, port):
        self.http, self.api, self.port = http, api, port

    async def ask(self, method, path, body=None):
        async with self.http.request(method, path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def toxic(self, type_, stream="downstream", toxicity=1.0, **attributes):
        body = {"type": type_, "name": type_, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        status, said = await self.ask("POST", "/proxies/hop/toxics", body)
        assert status == 200, said
        return said

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def round_trip(self, data=b"hello", size=None):
        """Send, have it come back; return what came and how long it took, in ms."""
        reader, writer = await self.connect()
        loop = asyncio.get_running_loop()
        try:
            begun = loop.time()
            writer.write(data)
            found = await asyncio.wait_for(reader.readexactly(size or len(data)), 20)
            return found, (loop.time() - begun) * 1000
        finally:
            writer.close()


async def echo(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    writer.close()


@contextlib.asynccontextmanager
async def a_hop():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    api = Api()
    runner = web.AppRunner(api.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    upstream = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with aiohttp.ClientSession(base) as http:
            hop = Hop(http, api, 0)
            status, said = await hop.ask(
                "POST", "/proxies", {"name": "hop", "listen": "127.0.0.1:0", "upstream": upstream}
            )
            assert status == 201
            hop.port = int(said["listen"].rpartition(":")[2])
            yield hop
    finally:
        await runner.cleanup()
        await api.aclose()
        server.close()


def within(scenario):
    async def main():
        async with asyncio.timeout(60), a_hop() as hop:
            return await scenario(hop)

    return asyncio.run(main())


def test_without_toxics_everything_passes():
    async def scenario(hop):
        data = bytes(range(256)) * 4_000
        found, _ = await hop.round_trip(data)
        return found == data

    assert within(scenario)


def test_the_api_answers_as_described():
    async def scenario(hop):
        return [
            (await hop.ask("GET", "/version"))[0],
            (await hop.ask("POST", "/proxies", {"name": "hop", "listen": "a:1", "upstream": "b:2"})),
            (await hop.ask("POST", "/proxies", {"listen": "a:1", "upstream": "b:2"})),
            (await hop.ask("GET", "/proxies/none")),
            (await hop.ask("DELETE", "/proxies/hop/toxics/none")),
            (await hop.ask("POST", "/proxies/hop/toxics", {"type": "magic"}))[0],
            (await hop.ask("POST", "/proxies/hop/toxics", {"type": "latency", "stream": "sideways"})),
        ]

    assert within(scenario) == [
        200,
        (409, {"error": "proxy already exists", "status": 409}),
        (400, {"error": "missing required field: name", "status": 400}),
        (404, {"error": "proxy not found", "status": 404}),
        (404, {"error": "toxic not found", "status": 404}),
        400,
        (400, {"error": "stream was invalid, can be either upstream or downstream", "status": 400}),
    ]


def test_a_toxic_is_made_changed_listed_and_removed():
    async def scenario(hop):
        made = await hop.toxic("latency", latency=50)
        changed = await hop.ask("POST", "/proxies/hop/toxics/latency", {"attributes": {"latency": 70}})
        listed = await hop.ask("GET", "/proxies/hop/toxics")
        gone = await hop.ask("DELETE", "/proxies/hop/toxics/latency")
        return made, changed[1], listed[1], gone[0], (await hop.ask("GET", "/proxies/hop"))[1]["toxics"]

    made, changed, listed, gone, left = within(scenario)
    assert made == {
        "attributes": {"latency": 50, "jitter": 0},
        "name": "latency",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1.0,
    }
    assert changed["attributes"] == {"latency": 70, "jitter": 0}
    assert (listed, gone, left) == ([changed], 204, [])


def test_latency_delays_each_way_it_is_put_on_and_is_counted():
    async def scenario(hop):
        await hop.toxic("latency", latency=200)
        found, after_ms = await hop.round_trip()
        text = (await hop.ask("GET", "/metrics"))[1]
        return found, after_ms, text

    found, after_ms, text = within(scenario)
    assert found == b"hello"
    assert after_ms >= 199
    assert 'callquake_toxic_bytes_total{proxy="hop",toxic="latency"} 5' in text
    assert 'callquake_toxic_connections_total{proxy="hop",toxic="latency"} 1' in text


def test_a_toxic_of_the_same_name_counts_a_connection_that_met_the_one_before():
    async def scenario(hop):
        reader, writer = await hop.connect()
        told = []
        for _ in range(2):
            await hop.toxic("latency", latency=1)
            writer.write(b"hello")
            await asyncio.wait_for(reader.readexactly(5), 20)
            told.append((await hop.ask("GET", "/metrics"))[1])
            await hop.ask("DELETE", "/proxies/hop/toxics/latency")
        writer.close()
        return told

    first, second = within(scenario)
    assert 'callquake_toxic_connections_total{proxy="hop",toxic="latency"} 1' in first
    assert 'callquake_toxic_connections_total{proxy="hop",toxic="latency"} 2' in second


def test_latency_lets_much_data_through_side_by_side():
    async def scenario(hop):
        await hop.toxic("latency", latency=300)
        return (await hop.round_trip(bytes(400_000)))[1]

    # 13 reads of 32 KiB one after the other would take 4 s.
    assert 299 <= within(scenario) < 3_900


def test_a_narrow_pipe_takes_its_time():
    async def scenario(hop):
        await hop.toxic("bandwidth", rate=10)
        return (await hop.round_trip(bytes(4_000)))[1]

    # 4,000 bytes at 10,000 a second; the last piece's own time is behind it.
    assert within(scenario) >= 300


def test_removing_a_toxic_ends_waits_that_have_begun():
    async def scenario(hop):
        await hop.toxic("latency", latency=600_000)
        reader, writer = await hop.connect()
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(5), 0.3)
        await hop.ask("DELETE", "/proxies/hop/toxics/latency")
        found = await asyncio.wait_for(reader.readexactly(5), 20)
        writer.close()
        return found

    assert within(scenario) == b"hello"


def test_a_timeout_swallows_and_then_closes():
    async def scenario(hop):
        await hop.toxic("timeout", timeout=200)
        reader, writer = await hop.connect()
        writer.write(b"hello")
        found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return found

    assert within(scenario) == b""


def test_a_timeout_of_nothing_holds_until_it_is_removed_and_then_closes():
    async def scenario(hop):
        await hop.toxic("timeout", timeout=0)
        reader, writer = await hop.connect()
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.3)
        await hop.ask("DELETE", "/proxies/hop/toxics/timeout")
        found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return found, await hop.round_trip()

    found, (after, _) = within(scenario)
    assert (found, after) == (b"", b"hello")


def test_a_reset_is_a_reset():
    async def scenario(hop):
        await hop.toxic("reset_peer", timeout=0)
        reader, writer = await hop.connect()
        try:
            writer.write(b"hello")
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()

    within(scenario)


def test_a_limit_lets_so_much_through_and_closes():
    async def scenario(hop):
        await hop.toxic("limit_data", bytes=7)
        reader, writer = await hop.connect()
        writer.write(b"hello there")
        found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return found

    assert within(scenario) == b"hello t"


def test_a_slicer_sends_small_pieces():
    async def scenario(hop):
        await hop.toxic("slicer", average_size=2, size_variation=0, delay=50_000)
        return await hop.round_trip(b"hello")

    found, took_ms = within(scenario)
    assert found == b"hello"
    # Three pieces, two pauses of 50 ms.
    assert took_ms >= 99


def test_a_slow_close_comes_late():
    async def scenario(hop):
        await hop.toxic("slow_close", delay=300)
        reader, writer = await hop.connect()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return (loop.time() - begun) * 1000

    assert within(scenario) >= 299


def test_a_proxy_that_is_down_refuses_and_closes():
    async def scenario(hop):
        reader, writer = await hop.connect()
        await hop.ask("POST", "/proxies/hop", {"enabled": False})
        ended = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await hop.connect()
        await hop.ask("POST", "/proxies/hop", {"enabled": True})
        return ended, await hop.round_trip()

    ended, (after, _) = within(scenario)
    assert (ended, after) == (b"", b"hello")


@pytest.mark.parametrize(
    ("type_", "idle", "at_work"),
    [
        ("latency", {"latency": 0, "jitter": 0}, {"latency": 5}),
        ("bandwidth", {"rate": 10_000_000}, {"rate": 1}),
        ("slow_close", {"delay": 0}, {"delay": 5}),
        ("limit_data", {"bytes": 1_000}, {"bytes": 5}),
        ("slicer", {"average_size": 1_000, "delay": 5}, {"average_size": 2}),
    ],
)
def test_what_passes_a_toxic_untouched_is_not_counted(type_, idle, at_work):
    async def counted(attributes):
        async with a_hop() as hop:
            await hop.toxic(type_, **attributes)
            reader, writer = await hop.connect()
            writer.write(b"hello")
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 20) == b"hello"
            writer.close()
            return (await hop.ask("GET", "/metrics"))[1]

    line = f'callquake_toxic_connections_total{{proxy="hop",toxic="{type_}"}}'
    assert f"{line} 0" in asyncio.run(counted(idle))
    assert f"{line} 1" in asyncio.run(counted(at_work))


def test_a_share_of_the_connections_is_touched():
    async def scenario(hop):
        await hop.toxic("limit_data", toxicity=0.5, bytes=0)
        found = []
        for _ in range(60):
            reader, writer = await hop.connect()
            writer.write(b"x")
            found.append(await asyncio.wait_for(reader.read(1), 20))
            writer.close()
        return found.count(b"")

    assert 12 <= within(scenario) <= 48


def test_reset_takes_everything_out():
    async def scenario(hop):
        await hop.toxic("timeout", timeout=0)
        await hop.ask("POST", "/proxies/hop", {"enabled": False})
        status, _ = await hop.ask("POST", "/reset")
        return status, await hop.round_trip(), (await hop.ask("GET", "/proxies"))[1]["hop"]["toxics"]

    status, (found, _), toxics = within(scenario)
    assert (status, found, toxics) == (204, b"hello", [])


def test_browsers_are_refused():
    async def scenario(hop):
        found = []
        for headers in ({"User-Agent": "Mozilla/5.0"}, {"Origin": "http://evil.test"}):
            async with hop.http.get("/proxies", headers=headers) as answer:
                found.append(answer.status)
        return found

    assert within(scenario) == [403, 403]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"type": "latency", "attributes": {"delay": 1}}, "attributes.delay: unknown; legal: latency, jitter"),
        ({"type": "latency", "attributes": {"latency": -1}}, "attributes.latency: legal: a number of at least 0"),
        ({"type": "latency", "attributes": 7}, "attributes: legal: an object"),
        ({"type": "latency", "toxicity": 2}, "toxicity: legal: a number from 0 to 1"),
        ({"type": "latency", "name": 7}, "name: legal: text"),
    ],
)
def test_a_wrong_toxic_is_named(said, message):
    with pytest.raises(ToxicError) as caught:
        toxic_from(said, 0)
    assert str(caught.value) == message


@pytest.mark.parametrize("word", ["hop", "hop=127.0.0.1:1", "=127.0.0.1:1,127.0.0.1:2", "hop=127.0.0.1,127.0.0.1:2"])
def test_a_wrong_word_for_a_proxy_is_named(word):
    with pytest.raises(ScenarioError, match="--proxy"):
        proxy_from(word)


def test_proxies_come_from_words_and_files(tmp_path):
    one = {"name": "llm", "listen": "127.0.0.1:1", "upstream": "[::1]:2"}
    assert proxy_from("llm=127.0.0.1:1,[::1]:2") == one
    (tmp_path / "p.json").write_text(json.dumps([one]))
    assert proxies_from(tmp_path / "p.json") == [one]
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(ScenarioError, match="legal: a list"):
        proxies_from(tmp_path / "p.json")


def test_a_half_closed_connection_stays_half_open():
    async def scenario(hop):
        reader, writer = await hop.connect()
        writer.write(b"hello")
        writer.write_eof()
        found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return found

    assert within(scenario) == b"hello"


def test_nobody_upstream_closes_the_connection():
    async def scenario(hop):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        await hop.ask("POST", "/proxies/hop", {"upstream": f"127.0.0.1:{port}"})
        reader, writer = await hop.connect()
        found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return found

    assert within(scenario) == b""


def test_a_connection_that_comes_as_the_proxy_stops_goes_nowhere_and_nobody_is_alarmed():
    alarms = []

    async def after(steps, upstream):
        proxy = Proxy("hop", "127.0.0.1:0", upstream)
        await proxy.start()
        with socket.create_connection(address(proxy.listen)) as client:
            client.setblocking(False)
            for _ in range(steps):
                await asyncio.sleep(0)
            await proxy.stop()
            with contextlib.suppress(OSError):
                client.send(b"x")
            await asyncio.sleep(0.05)
            with contextlib.suppress(OSError):
                return client.recv(10)
        return b""

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: alarms.append(context))
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            upstream = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return [await after(steps, upstream) for steps in range(9)]

    assert asyncio.run(main()) == [b""] * 9
    assert alarms == []


def test_a_reset_goes_on_where_a_proxy_is_taken_away_meanwhile():
    async def main():
        api = Api()
        for name in ("a", "b"):
            await api.put({"name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
            await api.proxies[name].stop()
        away = api.proxies["b"]
        resetting = asyncio.create_task(api._reset(None))
        await asyncio.sleep(0)
        del api.proxies["b"]
        await resetting
        enabled = api.proxies["a"].is_enabled, away.is_enabled
        await api.aclose()
        return enabled

    assert asyncio.run(main()) == (True, False)
