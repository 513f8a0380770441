"""baresip and us, each calling the other: UDP, TCP, TLS; codecs, SRTP, keys, holds, goodbyes."""

import asyncio
import re

import pytest
from baresip_phone import TONE, baresip
from edge_peer import Sessions, until
from rtp_bench import say_and_hear
from sip_bench import SipBench
from sip_peer import running_sip_edge

from harness.callers.exchange import Disconnected
from harness.media.codecs import CODECS, PCMU
from harness.media.events import MediaLost
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.model.sip_facts import Bye
from target_stack.edge.agent_call import EndReason

pytestmark = pytest.mark.peer

TRANSPORTS = ["udp", "tcp", "tls"]
LIMITS = CallLimits(connect_timeout_ms=15_000)


def caller_settings(phone, transport):
    return {"limits": LIMITS, **({"tls_ca": str(phone.ca)} if transport == "tls" else {})}


# --- our caller, its agent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_caller_is_answered_and_echoed(tmp_path, transport):
    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(phone.url(transport), **caller_settings(phone, transport))
            assert is_echo_of_a_phone(await say_and_hear(caller, heard, PCMU))
            await caller.close()
            await phone.until("CALL_CLOSED")
            facts, stats = caller.facts(), caller.media.stats()
            assert (facts.transport, facts.status, facts.bye) == (transport, 200, Bye.ANSWERED)
            assert facts.agent.startswith("baresip")
            assert (stats.packets_lost, stats.packets_discarded, stats.send_errors) == (0, 0, 0)

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


def is_echo_of_a_phone(delay_ms):
    """Its jitter buffer and bridge take their time, and so may this machine."""
    return 0 < delay_ms <= 2500


@pytest.mark.parametrize("codec", ["PCMA", "G722", "opus"])
def test_codecs(tmp_path, codec):
    ours = next(c for c in CODECS if c.name.lower() == codec.lower())

    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(phone.url(), codec=ours.name, limits=LIMITS)
            assert is_echo_of_a_phone(await say_and_hear(caller, heard, ours))

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


@pytest.mark.parametrize(
    ("ours", "theirs", "transport"),
    [("required", "srtp-mand", "udp"), ("required", "srtp-mand", "tls"), ("offered", "srtp", "udp")],
)
def test_srtp_of_our_caller(tmp_path, ours, theirs, transport):
    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            settings = caller_settings(phone, transport)
            caller, heard = await bench.connect(phone.url(transport), srtp=ours, **settings)
            assert caller.media.spec.incoming is not None
            assert is_echo_of_a_phone(await say_and_hear(caller, heard, PCMU))
            await caller.close()
            # baresip opens NATs by an RTCP APP packet in the clear, which is no part of the call.
            assert caller.media.stats().packets_discarded <= 2

    with baresip(tmp_path, encryption=theirs) as phone:
        asyncio.run(main(phone))


def test_keys_pressed_by_our_caller_and_by_baresip(tmp_path):
    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(phone.url(), limits=LIMITS)
            await say_and_hear(caller, heard, PCMU)
            caller.press("159*0#D")
            await until(lambda: len(phone.digits()) >= 7, "heard the keys")
            assert "".join(phone.digits()) == "159*0#D"
            assert caller.facts().digits_sent == 7

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


async def talks(caller):
    """Wait until it is heard; return how many packets came in the second after that."""
    before = caller.media.stats().packets_received
    await until(lambda: caller.media.stats().packets_received > before + 3, "heard")
    before = caller.media.stats().packets_received
    await asyncio.sleep(1.0)
    return caller.media.stats().packets_received - before


def test_our_caller_holds_baresip_and_resumes(tmp_path):
    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            limits = CallLimits(connect_timeout_ms=15_000, media_timeout_ms=800)
            caller, heard = await bench.connect(phone.url(), limits=limits)
            assert await talks(caller) > 20
            caller.hold(on=True)
            await phone.program.wrote("a=recvonly")
            await asyncio.sleep(0.4)
            received = caller.media.stats().packets_received
            await asyncio.sleep(1.0)
            assert caller.media.stats().packets_received - received <= 2, "baresip talks although it is held"
            caller.hold(on=False)
            assert await talks(caller) > 20
            assert not lost(heard)
            await caller.close()
            facts = caller.facts()
            assert (facts.holds, facts.holds_refused, facts.bye) == (1, 0, Bye.ANSWERED)

    with baresip(tmp_path, source=TONE) as phone:
        asyncio.run(main(phone))


def lost(heard):
    return [event for event in (heard.get_nowait() for _ in range(heard.qsize())) if isinstance(event, MediaLost)]


def test_baresip_holds_our_caller_and_resumes(tmp_path):
    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            limits = CallLimits(connect_timeout_ms=15_000, media_timeout_ms=800)
            caller, heard = await bench.connect(phone.url(), limits=limits)
            assert await talks(caller) > 20
            phone.tell("hold")
            await until(lambda: caller.facts().changes == 1, "held")
            await asyncio.sleep(0.3)
            sent = caller.media.stats().packets_sent
            await asyncio.sleep(1.0)
            assert caller.media.stats().packets_sent == sent
            phone.tell("resume")
            await until(lambda: caller.facts().changes == 2, "resumed")
            assert await talks(caller) > 20
            assert caller.media.stats().packets_sent > sent + 20
            assert not lost(heard)

    with baresip(tmp_path, source=TONE) as phone:
        asyncio.run(main(phone))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_baresip_hangs_up_on_our_caller(tmp_path, transport):
    async def main(phone):
        async with phone, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(phone.url(transport), **caller_settings(phone, transport))
            phone.tell("hangup")
            async with asyncio.timeout(20):
                while not isinstance(told := await heard.get(), Disconnected):
                    pass
            assert told.cause is Cause.AGENT_HUNG_UP
            await caller.close()
            assert caller.facts().bye is Bye.RECEIVED

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


# --- it calls our agent ------------------------------------------------------------------------------------------


def edge_options(phone, transport):
    """What the agent says comes back as the caller's words: the first greeting makes it answer on and on."""
    if transport != "tls":
        return {}
    return {"port": None, "tls_port": 0, "certificate": phone.ca, "key": phone.key}


def agent_url(address, transport):
    return f"sip:agent@{address[0]}:{address[1]}" + ("" if transport == "udp" else f";transport={transport}")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("encryption", [None, "srtp-mand", "srtp"])
def test_baresip_calls_our_agent_and_talks_with_it(tmp_path, transport, encryption):
    async def main(phone):
        sessions = Sessions(greeting_s=0.5)
        options = edge_options(phone, transport) | ({"srtp": "required"} if encryption == "srtp-mand" else {})
        async with running_sip_edge(sessions, **options) as (edge, address), phone:
            phone.tell("dial", agent_url(address, transport))
            await phone.until("CALL_ESTABLISHED")
            # Our greeting, echoed by the phone, has been answered, and so on.
            await until(lambda: sessions.made and sessions.made[0].turn >= 2, "answered twice")
            phone.tell("hangup")
            await until(lambda: not edge.counts.active_calls, "released")
        assert edge.counts.answers == {200: 1}
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}
        lines = edge.counts.lines
        assert (lines.lost, lines.strays) == (0, 0)
        # baresip opens NATs by an RTCP APP packet in the clear, which is no part of the call.
        assert lines.srtp_failures <= 2
        assert ("a=crypto:" in phone.program.log) == (encryption is not None)

    with baresip(tmp_path, encryption=encryption) as phone:
        asyncio.run(main(phone))


def test_keys_pressed_at_baresip_reach_our_agent(tmp_path):
    async def main(phone):
        sessions = Sessions(greeting_s=0.2)
        async with running_sip_edge(sessions) as (edge, address), phone:
            phone.tell("dial", agent_url(address, "udp"))
            await phone.until("CALL_ESTABLISHED")
            await until(lambda: sessions.made and sessions.made[0].audio_samples, "heard")
            for digit in "159*0#":
                phone.tell("sndcode", digit)
                await asyncio.sleep(0.3)
            await until(lambda: len(sessions.made[0].digits) >= 6, "heard six keys")
            assert "".join(digit for digit, _ in sessions.made[0].digits) == "159*0#"
            assert edge.counts.digits == 6

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


def test_baresip_holds_our_agent_and_resumes(tmp_path):
    async def main(phone):
        sessions = Sessions(greeting_s=0.5)
        async with running_sip_edge(sessions) as (edge, address), phone:
            phone.tell("dial", agent_url(address, "udp"))
            await phone.until("CALL_ESTABLISHED")
            await until(lambda: sessions.made and sessions.made[0].loud_samples > 8000, "heard")
            (session,) = sessions.made
            phone.tell("hold")
            await until(lambda: edge.counts.renegotiations == 1, "held")
            await asyncio.sleep(0.3)
            loud = session.loud_samples
            await asyncio.sleep(1.0)
            assert session.loud_samples == loud
            phone.tell("resume")
            await until(lambda: edge.counts.renegotiations == 2, "resumed")
            await until(lambda: session.loud_samples > loud + 8000, "heard again")
            phone.tell("hangup")
            await until(lambda: not edge.counts.active_calls, "released")
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}

    with baresip(tmp_path, source=TONE) as phone:
        asyncio.run(main(phone))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_agent_hangs_up_on_baresip(tmp_path, transport):
    async def main(phone):
        sessions = Sessions(greeting_s=0.2)
        async with running_sip_edge(sessions, **edge_options(phone, transport)) as (edge, address), phone:
            phone.tell("dial", agent_url(address, transport))
            await phone.until("CALL_ESTABLISHED")
            await until(lambda: sessions.made, "a session")
            assert edge.hang_up(sessions.made[0].call_id)
            await phone.until("CALL_CLOSED")
            await until(lambda: not edge.counts.active_calls, "released")

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


def test_a_full_trunk_is_told_to_baresip(tmp_path):
    async def main(phone):
        async with running_sip_edge(Sessions(), trunk_calls=0) as (edge, address), phone:
            phone.tell("dial", agent_url(address, "udp"))
            closed = await phone.until("CALL_CLOSED")
            assert re.search("503", closed["param"])
            assert edge.counts.answers == {503: 1}

    with baresip(tmp_path) as phone:
        asyncio.run(main(phone))


def test_baresip_registers_with_our_agent_calls_and_takes_leave(tmp_path):
    async def main():
        sessions = Sessions(greeting_s=0.3)
        async with running_sip_edge(sessions, users={"load": "s3cret"}) as (edge, address):
            with baresip(tmp_path, registers=(address[1], "load", "s3cret")) as phone:
                async with phone:
                    await phone.program.wrote("[1 binding]")
                    assert edge._registrar.records == 1
                    phone.tell("dial", agent_url(address, "udp"))
                    await phone.until("CALL_ESTABLISHED")
                    phone.tell("hangup")
                    await until(lambda: not edge.counts.active_calls, "released")
                    phone.tell("quit")
                    await until(lambda: not edge._registrar.records, "gone")

    asyncio.run(main())
