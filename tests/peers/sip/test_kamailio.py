"""Our caller, kamailio as its registrar and proxy, our agent behind it: digests, routes, goodbyes of both sides."""

import asyncio

import pytest
from edge_peer import Sessions, until
from kamailio_proxy import DOMAIN, USER, kamailio
from rtp_bench import say_and_hear
from sip_bench import SipBench
from sip_peer import running_sip_edge

from harness.callers.exchange import Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.media.codecs import PCMU
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.model.sip_facts import Bye
from target_stack.edge.agent_call import EndReason

pytestmark = pytest.mark.peer

LIMITS = CallLimits(connect_timeout_ms=15_000)
TRANSPORTS = ["udp", "tcp"]


@pytest.mark.parametrize("towards_agent", TRANSPORTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_registered_caller_is_let_through_and_hangs_up(tmp_path, transport, towards_agent):
    async def main():
        sessions = Sessions(greeting_s=0.3)
        async with running_sip_edge(sessions) as (edge, address):
            with kamailio(tmp_path, address[1], towards_agent) as proxy:
                async with SipBench(audio=True) as bench:
                    caller, heard = await bench.connect(proxy.url, limits=LIMITS, **proxy.sip(transport))
                    await say_and_hear(caller, heard, PCMU)
                    await until(lambda: sessions.made[0].turn, "answered")
                    await caller.close()
                    facts = caller.facts()
                    await until(lambda: not edge.counts.active_calls, "released")
                log = proxy.process.log
        assert (facts.status, facts.challenges, facts.bye) == (200, 1, Bye.ANSWERED)
        assert [r.status for r in facts.registrations] == [200]
        assert facts.retransmissions == 0
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}
        assert log.count(f"REGISTERED sip:{USER}@{DOMAIN}") == 2, "once, and once more to be taken away"
        assert f"LETIN {USER}" in log
        assert "LOOSE ACK" in log
        assert "LOOSE BYE" in log
        assert "404" not in log

    asyncio.run(main())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_agents_goodbye_follows_the_route_set(tmp_path, transport):
    async def main():
        sessions = Sessions(greeting_s=0.3)
        async with running_sip_edge(sessions) as (edge, address):
            with kamailio(tmp_path, address[1], transport) as proxy:
                async with SipBench(audio=True) as bench:
                    caller, heard = await bench.connect(proxy.url, limits=LIMITS, **proxy.sip(transport))
                    await until(lambda: edge.counts.active_calls and sessions.made, "a session")
                    await proxy.process.wrote("LOOSE ACK")
                    assert edge.hang_up(sessions.made[0].call_id)
                    async with asyncio.timeout(20):
                        while not isinstance(told := await heard.get(), Disconnected):
                            pass
                    assert told.cause is Cause.AGENT_HUNG_UP
                    await caller.close()
                    facts = caller.facts()
                    await until(lambda: not edge.counts.active_calls, "released")
                assert "LOOSE BYE" in proxy.process.log
        assert facts.bye is Bye.RECEIVED
        # One proxy stands between.
        assert facts.hops == 1

    asyncio.run(main())


def test_holds_go_through_the_proxy(tmp_path):
    async def main():
        sessions = Sessions(greeting_s=0.3)
        async with running_sip_edge(sessions) as (edge, address):
            with kamailio(tmp_path, address[1], "udp") as proxy:
                async with SipBench(audio=True) as bench:
                    caller, heard = await bench.connect(proxy.url, limits=LIMITS, **proxy.sip("udp"))
                    caller.hold(on=True)
                    await until(lambda: edge.counts.renegotiations == 1, "held")
                    caller.hold(on=False)
                    await until(lambda: edge.counts.renegotiations == 2, "resumed")
                    await say_and_hear(caller, heard, PCMU)
                    await caller.close()
                    assert caller.facts().bye is Bye.ANSWERED
                assert proxy.process.log.count("LOOSE INVITE") == 2

    asyncio.run(main())


def test_forty_calls_register_once(tmp_path):
    async def main():
        async with running_sip_edge(Sessions(greeting_s=0.1), trunk_calls=64) as (edge, address):
            with kamailio(tmp_path, address[1], "udp") as proxy:
                async with SipBench() as bench:

                    async def one(number):
                        caller, _ = await bench.connect(proxy.url, f"c{number}", limits=LIMITS, **proxy.sip("udp"))
                        await caller.close()
                        return caller.facts()

                    every = await asyncio.gather(*(one(number) for number in range(40)))
                await until(lambda: not edge.counts.active_calls, "released")
                assert proxy.process.log.count("REGISTERED") == 2
        assert {(facts.status, facts.bye) for facts in every} == {(200, Bye.ANSWERED)}
        assert sum(len(facts.registrations) for facts in every) == 1
        # The nonce of the first challenge serves the calls after it, as far as they come after it.
        assert {facts.challenges for facts in every} <= {0, 1}

    asyncio.run(main())


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("settings", "cause", "words"),
    [
        ({"password": "wrong"}, Cause.SIP_AUTH, "REGISTER: 401"),
        ({"password": "wrong", "register": False}, Cause.SIP_AUTH, "INVITE"),
        ({"register": False}, Cause.SIP_AUTH, "403 Register first"),
    ],
    ids=["register", "invite", "unregistered"],
)
def test_kamailio_refuses(tmp_path, transport, settings, cause, words):
    async def main():
        async with running_sip_edge(Sessions()) as (edge, address):
            with kamailio(tmp_path, address[1], "udp") as proxy:
                async with SipBench() as bench:
                    with pytest.raises(SetupFailure) as failed:
                        await bench.connect(proxy.url, limits=LIMITS, **proxy.sip(transport, **settings))
                assert failed.value.cause is cause
                assert words in failed.value.detail
                assert edge.counts.answers == {}

    asyncio.run(main())


def test_a_full_trunk_is_told_through_the_proxy(tmp_path):
    async def main():
        async with running_sip_edge(Sessions(), trunk_calls=0) as (edge, address):
            with kamailio(tmp_path, address[1], "tcp") as proxy:
                async with SipBench() as bench:
                    with pytest.raises(SetupFailure) as failed:
                        await bench.connect(proxy.url, limits=LIMITS, **proxy.sip("tcp"))
                # RFC 3261 16.7: another hop's 503 is told as a 500, for the proxy itself could take calls.
                assert failed.value.cause is Cause.SIP_SERVER_ERROR
                assert "500 Service Unavailable" in failed.value.detail
                assert edge.counts.answers == {503: 1}

    asyncio.run(main())
