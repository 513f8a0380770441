"""Our SIP callers against SIPp as the agent: its own scenarios and answers of every kind, by UDP and TCP."""

import asyncio

import pytest
from rtp_bench import say_and_hear
from sip_bench import SipBench
from sipp_agent import ACK, BYE, BYE_OK, INVITE, INVITE_KEPT, OK, SDP, hang_up, response, scenario, sipp_agent

from harness.callers import sip as sip_module
from harness.callers.setup_failure import SetupFailure
from harness.media.codecs import PCMU
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.model.sip_facts import Bye

pytestmark = pytest.mark.peer

ANSWER = (OK, ACK, BYE, BYE_OK)


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_calls_to_sipps_uas(tmp_path, transport):
    async def main():
        async with sipp_agent(tmp_path, transport=transport) as url, SipBench() as bench:
            async with asyncio.timeout(60):
                calls = [bench.connect(url, f"call-{i}") for i in range(20)]
                for caller, _heard in await asyncio.gather(*calls):
                    await caller.close()
                    facts = caller.facts()
                    assert (facts.status, facts.bye) == (200, Bye.ANSWERED)
                    assert [p.status for p in facts.provisionals] == [180]
                    assert facts.request_delay_ms <= facts.answer_delay_ms
                    assert facts.transport == ("tcp" if transport == "t1" else "udp")

    asyncio.run(main())


def test_audio_to_sipps_echo_and_back(tmp_path):
    async def main():
        async with sipp_agent(tmp_path, words=["-rtp_echo"]) as url, SipBench(audio=True) as bench:
            # SIPp has all calls on one media port: the second one learns it, and has a port of its own.
            for i in range(3):
                caller, heard = await bench.connect(url, f"call-{i}")
                await say_and_hear(caller, heard, PCMU)
                assert caller.media.stats().packets_lost == 0

    asyncio.run(main())


def test_early_media(tmp_path):
    xml = scenario(INVITE, response("183 Session Progress", body=SDP), '<pause milliseconds="700"/>', *ANSWER)

    async def main():
        async with sipp_agent(tmp_path, xml=xml, words=["-rtp_echo"]) as url, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(url)
            assert caller.facts().early_media
            assert [p.status for p in caller.facts().provisionals] == [183]
            await say_and_hear(caller, heard, PCMU)
            await caller.close()
            assert caller.facts().bye is Bye.ANSWERED

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "headers", "cause"),
    [
        ("486 Busy Here", (), Cause.SIP_BUSY),
        ("503 Service Unavailable", ("Retry-After: 7",), Cause.SIP_OVERLOADED),
        ("600 Busy Everywhere", (), Cause.SIP_BUSY),
        ("500 Server Internal Error", (), Cause.SIP_SERVER_ERROR),
        ("404 Not Found", (), Cause.SIP_REJECTED),
    ],
)
def test_refusals(tmp_path, status, headers, cause):
    xml = scenario(INVITE, response(status, *headers), ACK)

    async def main():
        async with sipp_agent(tmp_path, xml=xml) as url, SipBench() as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(url)
            facts = bench.callers[0].facts()
            assert (caught.value.cause, facts.status) == (cause, int(status[:3]))
            assert facts.retry_after_s == (7 if headers else None)
            assert facts.agent == "SIPp test"

    asyncio.run(main())


def test_digest_by_md5(tmp_path):
    challenge = 'WWW-Authenticate: Digest realm="sipp", nonce="abc", algorithm=MD5, qop="auth"'
    checked = """<recv request="INVITE" auth="true"><action>
<verifyauth assign_to="ok" username="alice" password="secret"/>
</action></recv><nop hide="true" test="ok" next="good"/>"""
    xml = scenario(
        INVITE, response("401 Unauthorized", challenge), ACK, checked,
        response("403 Forbidden"), ACK, '<nop next="end"/>', '<label id="good"/>', *ANSWER, '<label id="end"/>',
    )  # fmt: skip

    async def main():
        async with sipp_agent(tmp_path, xml=xml) as url, SipBench() as bench:
            caller, _heard = await bench.connect(url, username="alice", password="secret")
            assert (caller.facts().challenges, caller.facts().status) == (1, 200)
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(url, "call-2", username="alice", password="wrong")
            assert caught.value.cause is Cause.SIP_AUTH

    asyncio.run(main())


def test_a_redirect_to_another_sipp(tmp_path):
    async def main():
        (tmp_path / "last").mkdir()
        async with sipp_agent(tmp_path / "last") as last:
            moved = response("302 Moved Temporarily", f"Contact: <{last}>;q=1")
            # SIPp's own Contact would be one more place to go.
            moved = moved.replace("Contact: <sip:[local_ip]:[local_port];transport=[transport]>\n", "")
            async with sipp_agent(tmp_path, xml=scenario(INVITE, moved, ACK)) as url, SipBench() as bench:
                caller, _heard = await bench.connect(url)
                assert (caller.facts().redirects, caller.facts().status) == (1, 200)
                await caller.close()

    asyncio.run(main())


def test_the_agent_hangs_up(tmp_path):
    steps = (INVITE_KEPT, OK, ACK, '<pause milliseconds="300"/>', hang_up('Q.850;cause=16;text="over"'))
    xml = (
        scenario(*steps, '<Reference variables="from,to,plain"/>')
        .replace("From[$to]", "From: [$to]")
        .replace("To[$from]", "To: [$from]")
    )

    async def main():
        async with sipp_agent(tmp_path, xml=xml) as url, SipBench() as bench:
            caller, heard = await bench.connect(url)
            ended = await asyncio.wait_for(heard.get(), 20)
            assert ended.cause is Cause.AGENT_HUNG_UP
            assert "over" in ended.detail
            await caller.close()
            assert caller.facts().bye is Bye.RECEIVED
            assert caller.facts().hops == 0

    asyncio.run(main())


def test_a_bye_that_is_never_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(sip_module, "BYE_WAIT_S", 1.0)
    xml = scenario(INVITE, OK, ACK, BYE, '<pause milliseconds="60000"/>')

    async def main():
        async with sipp_agent(tmp_path, xml=xml) as url, SipBench(t1_ms=50) as bench:
            caller, _heard = await bench.connect(url)
            await caller.close()
            facts = caller.facts()
            assert facts.bye is Bye.UNANSWERED
            assert 990 <= facts.disconnect_delay_ms < 3_000
            await bench.until_quiet()

    asyncio.run(main())


def test_an_agent_that_rings_for_ever_is_cancelled(tmp_path):
    cancelled = (
        '<recv request="CANCEL"/>', response("200 OK"),
        response("487 Request Terminated").replace("[last_CSeq:]", "CSeq: 1 INVITE"), ACK,
    )  # fmt: skip
    xml = scenario(INVITE, response("180 Ringing"), *cancelled)

    async def main():
        async with sipp_agent(tmp_path, xml=xml) as url, SipBench() as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(url, limits=CallLimits(connect_timeout_ms=800))
            assert caught.value.cause is Cause.SIP_TIMEOUT
            await bench.callers[0].close()
            assert bench.host.agent.calls == 0

    asyncio.run(main())
