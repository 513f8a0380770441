import asyncio
import contextlib
import json
import re

import aiohttp
import pytest
from edge_peer import Client, Sessions, running_edge, until

from harness.protocols import rtvi
from target_stack.readiness import Readiness

pytestmark = pytest.mark.loopback

LOADING = Readiness(ready=False, stages={"stt": "ready", "tts": "loading"}, description={"tts": "kokoro"})


async def _real_sdp():
    client = Client("")
    sdp = (await client.offer())["sdp"]
    await client.pc.close()
    return sdp


async def _send(http, method, url, body):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.request(method, url, data=payload) as response:
        return response.status, response.headers, await response.json()


def _offer(sdp, **more):
    return {"sdp": sdp, "type": "offer", **more}


# (what is done to a good SDP, what the error names)
BAD_SDP = [
    (lambda s: "v=0\r\nnonsense", "no m=audio section"),
    (lambda s: s.replace("m=audio ", "m=audio x"), "offer.sdp cannot be read"),
    (lambda s: s[: s.index("m=audio")] + s[s.index("m=application") :], "no m=audio"),
    (lambda s: re.sub(r"m=audio \d+", "m=audio 0", s), "offer.sdp has no audio"),
    (lambda s: s.replace("a=sendrecv", "a=recvonly"), "audio is recvonly, it must be sendrecv"),
    (lambda s: s.replace("opus/48000", "opera/48000"), "offers no Opus"),
    (lambda s: "\r\n".join(x for x in s.splitlines() if "fingerprint" not in x) + "\r\n", "fingerprint"),
    (lambda s: "\r\n".join(x for x in s.splitlines() if "ice-pwd" not in x) + "\r\n", "ice-pwd"),
    (lambda s: s + "m=video 9 UDP/TLS/RTP/SAVPF 97\r\n" * 9, "media sections"),
    (lambda s: s.replace("a=candidate:", "a=candidate:bad "), "offer.sdp cannot be"),
]
BAD_REQUESTS = [
    ("POST", "/api/offer", b"not json", 400, "offer is not JSON"),
    ("POST", "/api/offer", b"\xff\xfe\xfd", 400, "offer is not JSON"),
    ("POST", "/api/offer", b"[" * 90_000, 400, "offer is not JSON"),
    ("POST", "/offer", b"[]", 400, "offer must be a JSON object, not a list"),
    ("POST", "/offer", b"{}", 400, "offer.sdp is missing"),
    ("POST", "/api/offer", b"x" * 300_000, 413, "larger than 262144 bytes"),
    ("POST", "/sessions/none/api/offer", b"{}", 404, "session id"),
    ("PATCH", "/api/offer", b"{}", 400, "body.pc_id is missing"),
    ("PATCH", "/api/offer", b'{"pc_id":"none","candidates":[]}', 404, "pc_id 'none' is no call here"),
    ("POST", "/start", b'{"transport":"daily"}', 400, 'body.transport must be "webrtc"'),
    ("POST", "/start", b'{"body":[]}', 400, "body.body must be an object"),
    ("GET", "/nowhere", b"", 404, "Not Found: GET /nowhere"),
    ("DELETE", "/api/offer", b"", 405, "Method Not Allowed"),
]
BAD_FIELDS = [
    ({"requestData": {"call_id": "a b"}}, 400, "requestData.call_id must be 1 to 64"),
    ({"requestData": {"call_id": "x" * 65}}, 400, "requestData.call_id"),
    ({"requestData": {"call_id": 7}}, 400, "requestData.call_id"),
    ({"pc_id": "gone"}, 404, "offer.pc_id is no call here"),
]


def test_bad_input_is_refused_by_name_and_leaves_nothing_behind():
    async def scenario():
        sdp = await _real_sdp()
        assert "m=application" in sdp[sdp.index("m=audio") :]
        cases = [("POST", "/api/offer", _offer(change(sdp)), 400, reason) for change, reason in BAD_SDP]
        cases += BAD_REQUESTS
        cases += [("POST", "/api/offer", _offer(sdp, **more), status, reason) for more, status, reason in BAD_FIELDS]
        async with running_edge(Sessions()) as (edge, url), aiohttp.ClientSession() as http:
            for method, path, body, status, reason in cases:
                got, _, answer = await _send(http, method, url + path, body)
                assert (got, reason in answer["error"]) == (status, True), (method, path, reason, got, answer)
            assert edge.counts.active_calls == 0
            assert 500 not in edge.counts.offers
            assert edge.counts.offers[413] == 1
            # And it still takes a call.
            async with Client(url) as client:
                await client.until_heard(1)

    asyncio.run(scenario())


def test_every_corruption_of_an_offer_is_a_4xx_or_an_answer():
    async def scenario():
        sdp = await _real_sdp()
        lines = sdp.splitlines()
        async with running_edge(Sessions(), max_calls=1000) as (edge, url), aiohttp.ClientSession() as http:
            for index in range(len(lines)):
                for damaged in ("", lines[index][: len(lines[index]) // 2], lines[index] + " \u2603 x:y/-1"):
                    text = "\r\n".join([*lines[:index], damaged, *lines[index + 1 :]]) + "\r\n"
                    status, _, answer = await _send(http, "POST", url + "/offer", _offer(text))
                    assert status in {200, 400}, (lines[index], damaged, answer)
            assert edge.counts.offers[400] > 0

    asyncio.run(scenario())


def test_offers_wait_for_the_models():
    async def scenario():
        sdp = await _real_sdp()
        async with running_edge(Sessions(), readiness=LOADING) as (_, url), aiohttp.ClientSession() as http:
            status, headers, answer = await _send(http, "POST", url + "/api/offer", _offer(sdp))
            assert (status, headers["Retry-After"]) == (503, "5")
            assert answer["error"] == "the agent is not ready: tts is loading"
            status, headers, answer = await _send(http, "GET", url + "/readyz", b"")
            assert (status, headers["Retry-After"]) == (503, "5")
            assert answer["stages"] == LOADING.stages
            status, _, answer = await _send(http, "GET", url + "/healthz", b"")
            assert (status, answer["status"], answer["ready"]) == (200, "alive", False)
            assert answer["stages"] == {"tts": "kokoro"}

    asyncio.run(scenario())


def test_the_call_limit_is_kept_and_places_come_back():
    async def scenario():
        sdp = await _real_sdp()
        async with running_edge(Sessions(), max_calls=2) as (edge, url), aiohttp.ClientSession() as http:
            async with contextlib.AsyncExitStack() as calls:
                for name in ("a", "b"):
                    client = await calls.enter_async_context(Client(url, request_data={"call_id": name}))
                    await client.until_said(rtvi.BotReady)
                status, headers, answer = await _send(http, "POST", url + "/offer", _offer(sdp))
                assert (status, headers["Retry-After"]) == (503, "5")
                assert answer["error"] == "2 calls are active, which is the limit"
            await until(lambda: edge.counts.active_calls == 0, "released")
            async with Client(url) as client:
                await client.until_heard(1)
            async with http.get(url + "/metrics") as response:
                text = await response.text()
        assert 'callquake_offers_total{status="503"} 1' in text
        assert 'callquake_offers_total{status="200"} 3' in text
        assert "callquake_active_calls " in text

    asyncio.run(scenario())


def test_an_active_call_cannot_be_renegotiated():
    async def scenario():
        sdp = await _real_sdp()
        async with (
            running_edge(Sessions()) as (_, url),
            aiohttp.ClientSession() as http,
            Client(url, request_data={"call_id": "mine"}) as client,
        ):
            await client.until_said(rtvi.BotReady)
            pc_id = client.answer["pc_id"]
            status, _, answer = await _send(http, "POST", url + "/api/offer", _offer(sdp, pc_id=pc_id))
            assert (status, "renegotiation is not supported" in answer["error"]) == (409, True)

    asyncio.run(scenario())


def test_calls_that_are_named_alike_are_told_apart():
    async def scenario():
        data = {"call_id": "call-000000"}
        async with running_edge(Sessions()) as (edge, url):
            async with Client(url, request_data=data) as first, Client(url, request_data=data) as second:
                await first.until_said(rtvi.BotReady)
                await second.until_said(rtvi.BotReady)
                assert [edge.calls.hang_up(f"call-000000{suffix}") for suffix in ("", ".2", ".3")] == [
                    True,
                    True,
                    False,
                ]
            await until(lambda: edge.counts.active_calls == 0, "released")

    asyncio.run(scenario())


def test_late_candidates_reach_their_call():
    async def scenario():
        async with running_edge(Sessions()) as (_, url), Client(url) as client, aiohttp.ClientSession() as http:

            async def patch(*lines):
                candidates = [{"candidate": c, "sdp_mid": "0", "sdp_mline_index": 0} for c in lines]
                body = {"pc_id": client.answer["pc_id"], "candidates": candidates}
                status, _, answer = await _send(http, "PATCH", url + "/api/offer", body)
                return status, answer

            await client.until_said(rtvi.BotReady)
            good = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
            mdns = "candidate:2 1 udp 2130706431 0a1b2c3d-0000-4000-8000-000000000000.local 9 typ host"
            assert await patch(good, mdns, "") == (200, {"status": "success"})
            for bad in ("candidate:1", "candidate:1 one udp 2 127.0.0.1 9 typ host"):
                status, answer = await patch(bad)
                assert (status, "is no candidate" in answer["error"]) == (400, True)

    asyncio.run(scenario())


def test_the_page_is_self_contained():
    async def scenario():
        async with (
            running_edge(Sessions()) as (_, url),
            aiohttp.ClientSession() as http,
            http.get(url + "/") as response,
        ):
            assert response.content_type == "text/html"
            return await response.text()

    page = asyncio.run(scenario())
    assert "window.callquake" in page
    assert "http://" not in page
    assert "https://" not in page
