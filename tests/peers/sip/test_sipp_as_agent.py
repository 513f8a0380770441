"""Our SIP caller and SIPp as its agent: stock scenarios, and what agents do besides answering."""

import asyncio
import hashlib
import re
import time

import pytest
from rtp_bench import say_and_hear
from sip_bench import SipBench
from sipp_scenarios import (
    ANSWERED,
    HUNG_UP,
    answer,
    done,
    expect,
    invited,
    pause,
    recv,
    request,
    sdp,
    sipp_agent,
)

from harness.callers.exchange import Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.callers.sip_silence import silent_offer
from harness.media.codecs import PCMU
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.model.sip_facts import Bye
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.events import Answered, Ended, Registered
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint

pytestmark = pytest.mark.peer

LIMITS = CallLimits(connect_timeout_ms=15_000)


def fails(bench, url, **settings):
    """Return a call's SetupFailure and facts."""

    async def attempt():
        with pytest.raises(SetupFailure) as failed:
            await bench.connect(url, limits=LIMITS, **settings)
        caller = bench.callers[-1]
        await caller.close()
        return failed.value, caller.facts()

    return attempt()


async def until(condition, what):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"never {what}"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_sipps_own_uas_answers_and_echoes(tmp_path, transport):
    async def main(agent, url):
        async with SipBench(audio=True) as bench:
            calls = [await bench.connect(url, f"call-{i}", limits=LIMITS) for i in range(3)]
            for caller, heard in calls:
                assert is_echo_of_sipp(await say_and_hear(caller, heard, PCMU))
            for caller, _ in calls:
                await caller.close()
                facts, stats = caller.facts(), caller.media.stats()
                assert (facts.status, facts.bye, facts.retransmissions) == (200, Bye.ANSWERED, 0)
                assert [p.status for p in facts.provisionals] == [180]
                assert facts.request_delay_ms <= facts.answer_delay_ms
                assert (stats.packets_lost, stats.packets_discarded, stats.send_errors) == (0, 0, 0)
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, transport=transport, calls=3) as (agent, url):
        asyncio.run(main(agent, url))


def is_echo_of_sipp(delay_ms):
    """SIPp returns each packet at once."""
    return 0 <= delay_ms <= 1500


def test_many_short_calls_to_sipps_own_uas(tmp_path):
    async def main(agent, url):
        async with SipBench() as bench:

            async def one(number):
                caller, _ = await bench.connect(url, f"call-{number}", limits=LIMITS)
                await caller.close()
                return caller.facts()

            every = await asyncio.gather(*(one(number) for number in range(40)))
            assert {(facts.status, facts.bye) for facts in every} == {(200, Bye.ANSWERED)}
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, calls=40) as (agent, url):
        asyncio.run(main(agent, url))


def test_registering_and_calling_sipps_branch_server(tmp_path):
    """`branchs` wants REGISTER and INVITE in one Call-ID, which no caller of ours does: the user agent does it here."""

    async def main(agent, port):
        heard = []
        core = UserAgent(AgentConfig(invites=False), seed=7)
        endpoint = SipEndpoint(core, heard.append)
        flow = await endpoint.open_flow("udp", ("127.0.0.1", port))

        async def told(kind):
            endpoint.flush()
            await until(lambda: any(isinstance(event, kind) for event in heard), f"{kind}: {heard}")
            return next(event for event in heard if isinstance(event, kind))

        uri, now = f"sip:ua2@127.0.0.1:{port}", endpoint.now_ns
        core.register(f"sip:127.0.0.1:{port}", flow, now(), aor="<sip:ua2@127.0.0.1>")
        registered = await told(Registered)
        assert registered.response.status == 200
        name = registered.response.call_id
        call = core.invite(uri, flow, now(), body=silent_offer("127.0.0.1"), from_="<sip:ua2@127.0.0.1>", call_id=name)
        assert (await told(Answered)).body
        call.hang_up(now())
        assert (await told(Ended)).cause == "local"
        assert await agent.ended() == 0
        await endpoint.aclose()

    with sipp_agent(tmp_path, stock="branchs") as (agent, _url):
        asyncio.run(main(agent, agent.port))


def test_early_media_of_sipp(tmp_path):
    steps = [invited(), answer("183 Session Progress", body=sdp()), pause(1500), ANSWERED, HUNG_UP]

    async def main(agent, url):
        async with SipBench(audio=True) as bench:
            connecting = asyncio.create_task(bench.connect(url, limits=LIMITS))
            await until(lambda: bench.callers and bench.callers[0].media is not None, "media before the answer")
            assert not connecting.done()
            caller, heard = await connecting
            assert is_echo_of_sipp(await say_and_hear(caller, heard, PCMU))
            await caller.close()
            facts = caller.facts()
            assert facts.early_media
            assert [p.status for p in facts.provisionals] == [183]
            assert facts.answer_delay_ms >= 1400
            assert facts.request_delay_ms < facts.answer_delay_ms
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))


def test_a_reliable_183_of_sipp_is_acknowledged(tmp_path):
    via = '<ereg regexp=".*" search_in="hdr" header="Via" assign_to="rest"/>'
    via += '<assignstr assign_to="via" value="Via[$rest]"/>'
    ring = answer("183 Session Progress", "Require: 100rel", "RSeq: 4711", body=sdp(), again=True)
    # The PRACK was the last request: the INVITE's own Via and CSeq are needed again.
    final = answer("200 OK", body=sdp(), again=True)
    final = final.replace("[last_Via:]", "[$via]").replace("[last_CSeq:]", "CSeq: 1 INVITE")
    steps = [invited(action=via), ring, recv("PRACK"), done("200 OK"), pause(200), final, recv("ACK"), HUNG_UP]

    async def main(agent, url):
        async with SipBench(audio=True) as bench:
            caller, heard = await bench.connect(url, limits=LIMITS)
            assert is_echo_of_sipp(await say_and_hear(caller, heard, PCMU))
            await caller.close()
            assert caller.facts().early_media
            assert await agent.ended() == 0
            assert "RAck: 4711 1 INVITE" in agent.messages.read_text()

    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))


# --- who is let in ---------------------------------------------------------------------------------------------------


def challenge(status, header, after):
    nonce = 'Digest realm="sipp.test", nonce="4f2d1c", algorithm=MD5, qop="auth"'
    return [invited(), answer(status, f"{header}: {nonce}", again=True), recv("ACK"), *after]


@pytest.mark.parametrize("password", ["s3cret", "wrong"])
def test_sipp_checks_the_callers_digest(tmp_path, password):
    verify = '<verifyauth assign_to="good" username="load" password="s3cret"/>'
    steps = [
        invited(action=verify),
        '<nop test="good" next="good"/>\n',
        answer("403 Forbidden", again=True),
        '<recv request="ACK" next="over"/>\n',
        '<label id="good"/>\n',
        ANSWERED,
        HUNG_UP,
        '<label id="over"/>\n',
    ]

    async def main(agent, url):
        async with SipBench() as bench:
            if password == "wrong":
                failure, facts = await fails(bench, url, username="load", password=password)
                assert failure.cause is Cause.SIP_AUTH
                assert facts.status == 403
            else:
                caller, _ = await bench.connect(url, limits=LIMITS, username="load", password=password)
                await caller.close()
                facts = caller.facts()
                assert (facts.status, facts.bye) == (200, Bye.ANSWERED)
            assert facts.challenges == 1
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, *challenge("401 Unauthorized", "WWW-Authenticate", steps)) as (agent, url):
        asyncio.run(main(agent, url))


def test_a_407_of_sipps_is_answered(tmp_path):
    """SIPp 3.6 does not look into Proxy-Authorization: it is calculated here, by RFC 2617's words alone."""

    async def main(agent, url):
        async with SipBench() as bench:
            caller, _ = await bench.connect(url, limits=LIMITS, username="load", password="s3cret")
            await caller.close()
            assert (caller.facts().challenges, caller.facts().bye) == (1, Bye.ANSWERED)
            assert await agent.ended() == 0
        said = [message for message in agent.messages.read_text().split("\n\n") if "Proxy-Authorization" in message]
        assert [message.split(" ", 1)[0] for message in said] == ["INVITE", "ACK", "BYE"]
        invite, ack, bye = (message.split("Proxy-Authorization: Digest ")[1].split("\n")[0] for message in said)
        # RFC 3261 22.1: the ACK shows what its INVITE showed. The BYE needs no challenge of its own.
        assert ack == invite
        for number, shown in enumerate((invite, bye), start=1):
            method, uri = said[2 * number - 2].split(" ", 2)[:2]
            field = dict(re.findall(r'(\w+)="?([^",\s]+)', shown))
            ha1, ha2 = md5("load:sipp.test:s3cret"), md5(f"{method}:{uri}")
            assert field["response"] == md5(":".join([ha1, "4f2d1c", field["nc"], field["cnonce"], "auth", ha2]))
            assert (field["nc"], field["qop"], field["uri"]) == (f"{number:08x}", "auth", uri)

    steps = challenge("407 Proxy Authentication Required", "Proxy-Authenticate", [invited(), ANSWERED, HUNG_UP])
    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))


def md5(text):
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_a_challenge_without_an_account_says_what_is_missing(tmp_path):
    steps = [
        invited(),
        answer("401 Unauthorized", 'WWW-Authenticate: Digest realm="sipp.test", nonce="1"', again=True),
        recv("ACK"),
    ]

    async def main(agent, url):
        async with SipBench() as bench:
            failure, facts = await fails(bench, url)
            assert failure.cause is Cause.SIP_AUTH
            assert "target.sip.username" in failure.detail
            assert facts.status == 401
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))


def test_a_redirect_leads_to_another_sipp(tmp_path):
    async def main(first, second, url):
        async with SipBench(audio=True) as bench:
            caller, heard = await bench.connect(url, limits=LIMITS)
            assert is_echo_of_sipp(await say_and_hear(caller, heard, PCMU))
            await caller.close()
            facts = caller.facts()
            assert (facts.status, facts.redirects, facts.bye) == (200, 1, Bye.ANSWERED)
            assert await first.ended() == 0
            assert await second.ended() == 0

    with sipp_agent(tmp_path, invited(), ANSWERED, HUNG_UP, name="second") as (second, there):
        moved = answer("302 Moved Temporarily", again=True).replace(
            "Contact: <sip:[local_ip]:[local_port];transport=[transport]>", f"Contact: <{there}>"
        )
        with sipp_agent(tmp_path, invited(), moved, recv("ACK"), name="first") as (first, url):
            asyncio.run(main(first, second, url))


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("486 Busy Here", Cause.SIP_BUSY),
        ("404 Not Found", Cause.SIP_REJECTED),
        ("500 Server Internal Error", Cause.SIP_SERVER_ERROR),
        ("603 Decline", Cause.SIP_GLOBAL_FAILURE),
    ],
)
def test_refusals_of_sipp_are_told_apart(tmp_path, status, cause):
    async def main(agent, url):
        async with SipBench(audio=True) as bench:
            failure, facts = await fails(bench, url)
            assert failure.cause is cause
            assert facts.status == int(status[:3])
            assert status in failure.detail
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, invited(), answer(status, again=True), recv("ACK")) as (agent, url):
        asyncio.run(main(agent, url))


def test_503_with_retry_after_is_kept_to(tmp_path):
    async def main(agent, url):
        async with SipBench() as bench:
            failure, facts = await fails(bench, url)
            assert (failure.cause, facts.status, facts.retry_after_s) == (Cause.SIP_OVERLOADED, 503, 2)
            failure, facts = await fails(bench, url)
            assert (failure.cause, facts.held_back) == (Cause.SIP_OVERLOADED, True)
            await asyncio.sleep(2.1)
            failure, facts = await fails(bench, url)
            assert not facts.held_back
            assert await agent.ended() == 0
            assert agent.messages.read_text().count("\nINVITE ") == 2

    refusal = answer("503 Service Unavailable", "Retry-After: 2 (lunch)", again=True)
    with sipp_agent(tmp_path, invited(), refusal, recv("ACK"), calls=2) as (agent, url):
        asyncio.run(main(agent, url))


# --- within the call -------------------------------------------------------------------------------------------------


def test_sipp_holds_and_resumes_by_reinvite(tmp_path):
    taken = expect(100, optional=True) + expect(200)
    acknowledged = request("ACK", "{0}", sequence="ACK", again=False)
    steps = [
        invited(),
        ANSWERED,
        pause(800),
        request("INVITE", 1, body=sdp("sendonly", 2)) + taken + acknowledged.replace("{0}", "1"),
        pause(1500),
        request("INVITE", 2, body=sdp("sendrecv", 3)) + taken + acknowledged.replace("{0}", "2"),
        HUNG_UP,
    ]

    async def main(agent, url):
        async with SipBench(audio=True) as bench:
            limits = CallLimits(connect_timeout_ms=15_000, media_timeout_ms=700)
            caller, heard = await bench.connect(url, limits=limits)
            await until(lambda: caller.facts().changes == 1, "held")
            await asyncio.sleep(0.3)
            sent = caller.media.stats().packets_sent
            await asyncio.sleep(0.5)
            assert caller.media.stats().packets_sent == sent, "the caller talks to somebody who does not listen"
            await until(lambda: caller.facts().changes == 2, "resumed")
            assert is_echo_of_sipp(await say_and_hear(caller, heard, PCMU))
            await caller.close()
            assert caller.facts().bye is Bye.ANSWERED
            assert await agent.ended() == 0
            said = agent.messages.read_text()
            assert said.count("a=recvonly") == 1

    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))


def test_sipp_hangs_up(tmp_path):
    reason = 'Reason: Q.850;cause=16;text="Normal call clearing"'
    steps = [invited(), ANSWERED, pause(500), request("BYE", 1, headers=[reason]), expect(200)]

    async def main(agent, url):
        async with SipBench(audio=True) as bench:
            caller, heard = await bench.connect(url, limits=LIMITS)
            async with asyncio.timeout(20):
                while not isinstance(told := await heard.get(), Disconnected):
                    pass
            assert told.cause is Cause.AGENT_HUNG_UP
            assert "Normal call clearing" in told.detail
            await caller.close()
            assert caller.facts().bye is Bye.RECEIVED
            assert 300 <= caller.facts().session_ms <= 5000
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))


def test_sipp_never_gets_its_answer_to_bye_across(tmp_path):
    async def main(url):
        async with SipBench() as bench:
            caller, _ = await bench.connect(url, limits=LIMITS)
            await caller.close()
            assert caller.facts().bye is Bye.UNANSWERED
            assert 3500 <= caller.facts().disconnect_delay_ms <= 8000

    lost = recv("BYE") + done("200 OK", extra=' lost="100"') + pause(30_000)
    with sipp_agent(tmp_path, invited(), ANSWERED, lost) as (_agent, url):
        asyncio.run(main(url))


def test_sipp_answers_bye_after_it_came_again(tmp_path):
    async def main(agent, url):
        async with SipBench() as bench:
            caller, _ = await bench.connect(url, limits=LIMITS)
            await caller.close()
            assert caller.facts().bye is Bye.ANSWERED
            assert caller.facts().retransmissions >= 1
            assert caller.facts().disconnect_delay_ms >= 450
            assert await agent.ended() == 0

    once = '<recv request="BYE" rrs="true"/>\n' + pause(700) + done("200 OK")
    with sipp_agent(tmp_path, invited(), ANSWERED, once) as (agent, url):
        asyncio.run(main(agent, url))


def test_sipp_that_never_answers_is_cancelled(tmp_path):
    cancelled = recv("CANCEL") + done("200 OK").replace("[last_CSeq:]", "CSeq: 1 CANCEL")
    ended = answer("487 Request Terminated", again=True).replace("[last_CSeq:]", "CSeq: 1 INVITE")
    steps = [invited(), answer("180 Ringing"), cancelled, ended, recv("ACK")]

    async def main(agent, url):
        async with SipBench() as bench:
            with pytest.raises(SetupFailure) as failed:
                await bench.connect(url, limits=CallLimits(connect_timeout_ms=1_500))
            assert failed.value.cause is Cause.SIP_TIMEOUT
            assert "the last word was 180" in failed.value.detail
            await bench.callers[0].close()
            assert await agent.ended() == 0

    with sipp_agent(tmp_path, *steps) as (agent, url):
        asyncio.run(main(agent, url))
