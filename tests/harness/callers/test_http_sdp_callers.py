"""Offers over HTTP in every dialect, against agents on loopback that hold the caller to the rules."""

import asyncio
import re

import pytest
from sdp_agents import Bench, JsonAgent, RealtimeAgent, Redirector, WhipAgent, until

from harness.callers import http_exchange, http_signalling
from harness.callers.exchange import AgentText, TranscriptChannel, UserTranscript
from harness.callers.http_exchange import Requests
from harness.callers.http_signalling import Answered
from harness.callers.setup_failure import SetupFailure
from harness.model.plan import IceServer, TargetSpec
from harness.model.records import Cause
from harness.protocols.whip import Fragment

pytestmark = pytest.mark.loopback

TOKEN = {"Authorization": "Bearer let-me-in"}


def run(scenario):
    async def main():
        async with Bench() as bench:
            await scenario(bench)

    asyncio.run(main())


async def refused(bench, url, dialect="whip", cause=Cause.SIGNALLING_REFUSED, **settings):
    with pytest.raises(SetupFailure) as caught:
        await bench.connect(url, dialect, **settings)
    assert caught.value.cause is cause
    return caught.value.detail


def heard(caller):
    return caller.media.stats().packets_received > 5


# --- WHIP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["/session/{}", "session/{}", "{{origin}}/session/{}"])
def test_a_whip_call_is_posted_talks_and_is_deleted(location):
    async def scenario(bench):
        async with WhipAgent() as agent:
            agent.options["location"] = location.replace("{{origin}}", agent.origin)
            caller = await bench.connect(agent.url, "whip", headers=TOKEN)
            await until(lambda: heard(caller), "heard")
            assert caller.candidate_types == ("host", "host")
            await caller.close()
            (name,) = agent.ended
            assert [(method, path) for method, path, _ in agent.seen] == [
                ("POST", "/whip"),
                ("DELETE", f"/session/{name}"),
            ]
            _, _, asked = agent.seen[0]
            assert (asked["Content-Type"], asked["X-Call-Id"]) == ("application/sdp", "call-1")
            await caller.close()
            assert len(agent.seen) == 2

    run(scenario)


def test_a_whip_session_is_deleted_even_where_the_call_never_came_up():
    async def scenario(bench):
        async with WhipAgent() as agent:
            answer = agent.answer

            async def of_somebody_else(sdp, name):
                return re.sub("(a=fingerprint:[^ ]+) ..:..", r"\1 00:11", await answer(sdp, name))

            agent.answer = of_somebody_else
            caller = bench.caller(agent.url, "whip", headers=TOKEN)
            async with bench.queue.turn(None) as turn:
                with pytest.raises(SetupFailure) as caught:
                    await caller.connect(turn)
            await caller.close()
            assert caught.value.cause is Cause.DTLS_FAILED
            assert len(agent.ended) == 1

    run(scenario)


@pytest.mark.parametrize("status", [307, 308])
def test_redirects_are_followed_with_the_headers_to_the_same_origin_only(status):
    async def scenario(bench):
        async with WhipAgent() as agent, Redirector(status=status, to=agent.url) as elsewhere:
            detail = await refused(bench, elsewhere.url, headers=TOKEN)
            assert detail.startswith(f"HTTP 401 from {agent.url}: no token (redirected from {elsewhere.url}, whose")
            assert "Authorization" not in agent.seen[0][2]

    run(scenario)


def test_a_redirect_within_the_origin_keeps_method_body_and_token():
    async def scenario(bench):
        async with WhipAgent() as agent:
            caller = await bench.connect(f"{agent.origin}/moved", "whip", headers=TOKEN)
            await caller.close()
            assert [path for _, path, _ in agent.seen[:2]] == ["/moved", "/whip"]
            assert len(agent.ended) == 1

    run(scenario)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirects_that_would_turn_a_post_into_a_get_are_refused(status):
    async def scenario(bench):
        async with Redirector(status=status, to="/whip") as agent:
            assert f"HTTP {status} from {agent.url}" in await refused(bench, agent.url)
            assert len(agent.seen) == 1

    run(scenario)


def test_a_circle_of_redirects_and_one_that_leaves_http_end_the_call():
    async def scenario(bench):
        async with Redirector(status=307, to="/again") as agent:
            assert "more than 5 redirects" in await refused(bench, agent.url)
        async with Redirector(status=308, to="file:///etc/passwd") as agent:
            assert "which is no http address" in await refused(bench, agent.url)
        async with Redirector(status=307, to="http://[") as agent:
            assert f"HTTP 307 from {agent.url}" in await refused(bench, agent.url)

    run(scenario)


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ((503, {"Retry-After": "17"}, "full"), "full (Retry-After: 17)"),
        ((422, {}, '{"title": "no audio"}'), 'HTTP 422 from URL: {"title": "no audio"}'),
        ((406, {}, ""), "HTTP 406 from URL: Not Acceptable"),
        ((204, {}, ""), "HTTP 204 from URL"),
        ((201, {"Location": "/session/1"}, "not SDP"), "answered no SDP: the body is no session description"),
    ],
)
def test_what_a_whip_server_says_instead_of_an_answer(refusal, expected):
    async def scenario(bench):
        async with WhipAgent(refuse=refusal) as agent:
            assert expected.replace("URL", agent.url) in await refused(bench, agent.url)

    run(scenario)


def test_an_answer_without_end_is_not_read_to_its_end():
    async def scenario(bench):
        async with WhipAgent(refuse=(503, {}, "x" * (http_exchange.MOST_BODY_BYTES + 1))) as agent:
            told = await refused(bench, agent.url)
            assert told == f"HTTP 503 from {agent.url}: its body is longer than 1048576 bytes, the most that is read"
        async with WhipAgent(refuse=(503, {}, "x" * http_exchange.MOST_BODY_BYTES)) as agent:
            assert "xxxx" in await refused(bench, agent.url)

    run(scenario)


def test_the_answer_names_etag_session_and_servers():
    links = ['<stun:s.example>; rel="ice-server"', "<turn:t.example>; rel=ice-server; username=u; credential=c"]

    async def scenario(bench):
        async with WhipAgent(links=links) as agent:
            target = TargetSpec(agent.url, dialect="whip", headers=TOKEN)
            requests = Requests(bench.http, target)
            assert await http_signalling.servers_before(requests, 5.0) == (
                IceServer(("stun:s.example",)),
                IceServer(("turn:t.example",), "u", "c"),
            )
            offer = bench.caller(agent.url, "whip")._offer(None).offer_sdp
            answered = await http_signalling.exchange(requests, offer, "c", 5.0)
            assert answered.etag == agent.etag
            assert answered.session_url.startswith(f"{agent.origin}/session/")
            assert len(answered.servers) == 2
            return await patch(requests, agent, answered)

    async def patch(requests, agent, answered):
        fragment = Fragment("u", "p", ("candidate:1 1 udp 1 127.0.0.1 9 typ host",), is_complete=True)
        assert await http_signalling.trickle(requests, answered, fragment, ["0"])
        stale = Answered("", 0, answered.session_url, '"old"')
        with pytest.raises(SetupFailure, match="HTTP 412"):
            await http_signalling.trickle(requests, stale, fragment, ["0"])
        with pytest.raises(SetupFailure, match="HTTP 428"):
            await http_signalling.trickle(requests, Answered("", 0, answered.session_url), fragment, ["0"])
        agent.options["no_trickle"] = True
        assert not await http_signalling.trickle(requests, answered, fragment, ["0"])
        assert not await http_signalling.trickle(requests, Answered("", 0), fragment, ["0"])

    run(scenario)


# --- OpenAI Realtime -----------------------------------------------------------------------------------------------


def test_a_realtime_call_has_events_beside_the_audio():
    async def scenario(bench):
        async with RealtimeAgent() as agent:
            caller = await bench.connect(agent.url, "openai", headers={"Authorization": "Bearer ek_1"}, trace=True)
            await until(lambda: heard(caller) and AgentText("Good morning.", "transcription") in caller.events, "heard")
            assert agent.channels[0].label == "oai-events"
            told = [e for e in caller.events if isinstance(e, TranscriptChannel | UserTranscript | AgentText)]
            assert told == [
                TranscriptChannel("oai-events"),
                UserTranscript("hello there", 1),
                AgentText("Good morning.", "transcription"),
            ]
            await caller.close()
            # The session is not ours to delete, nor to change.
            assert [method for method, _, _ in agent.seen] == ["POST"]
            assert agent.messages == []
            return caller.details

    async def check(bench):
        details = await scenario(bench)
        (request,) = details["requests"]
        assert (request["method"], request["status"]) == ("POST", 201)
        assert "Authorization" not in str(details)
        assert (details["codec"]["name"], details["data_channel"]) == ("opus", True)
        assert details["ice"]["types"] == ["host", "host"]
        assert details["ice"]["remote"].startswith("127.0.0.1:")
        assert details["srtp"].startswith("SRTP_AE")
        assert details["dtls"]["version"] == "DTLSv1.2"
        assert "total_tokens" in details["messages"][6]["text"]

    run(check)


def test_a_wrong_token_is_told_as_the_agent_tells_it():
    async def scenario(bench):
        async with RealtimeAgent() as agent:
            detail = await refused(bench, agent.url, "openai", headers={"Authorization": "Bearer no"})
            assert detail.startswith(f"HTTP 401 from {agent.url}: ")
            assert "Incorrect API key provided" in detail

    run(scenario)


# --- JSON ----------------------------------------------------------------------------------------------------------


def test_plain_json_has_no_session_and_no_channel():
    async def scenario(bench):
        async with JsonAgent() as agent:
            caller = await bench.connect(agent.url, "json")
            await until(lambda: heard(caller), "heard")
            await caller.close()
            assert [method for method, _, _ in agent.seen] == ["POST"]
            assert agent.channels == []

    run(scenario)


@pytest.mark.parametrize("dialect", ["pipecat", "json", "whip", "openai"])
def test_nobody_there_and_nobody_who_answers(dialect):
    async def scenario(bench):
        silent = await asyncio.start_server(lambda _r, _w: asyncio.sleep(1), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/agent"
        detail = await refused(bench, url, dialect, Cause.SIGNALLING_TIMEOUT, limit_ms=200)
        assert detail == f"no answer from {url} within 0 s"
        silent.close()
        await silent.wait_closed()
        await refused(bench, url, dialect, Cause.SIGNALLING_UNREACHABLE)

    run(scenario)
