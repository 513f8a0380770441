"""SIP calls with audio over loopback: codecs, SRTP, early media, holds both ways, keys, moved media, shared ports."""

import asyncio
import re
from dataclasses import replace

import pytest
from rtp_agent import open_line
from rtp_bench import is_echo, say_and_hear, utterance
from sip_agent import SipAgent, sdp
from sip_audio_agent import AudioAgent
from sip_bench import SipBench

from harness.callers.setup_failure import SetupFailure
from harness.media.codecs import CODECS, G722, PCMA, PCMU
from harness.media.events import MediaLost
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.protocols.sip import events

pytestmark = pytest.mark.loopback


async def until(queue, kind):
    async with asyncio.timeout(20):
        while not isinstance(event := await queue.get(), kind):
            pass
        return event


@pytest.mark.parametrize("codec", CODECS[:4], ids=[c.name for c in CODECS[:4]])
def test_a_call_in_every_codec(codec):
    async def main():
        async with AudioAgent() as agent, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(agent.url, codec=codec.name)
            assert is_echo(await say_and_hear(caller, heard, codec))
            await caller.close()
            stats = caller.media.stats()
            assert (stats.packets_lost, stats.packets_discarded, stats.send_errors) == (0, 0, 0)
            assert stats.packets_received > 0
            line = agent.lines[caller.facts().call_id]
            assert {packet[1] & 0x7F for packet in line.rtp} == {codec.payload_type}
            assert line.rtcp[-1][9] == 203, "RTCP BYE is the last word"
            assert not caller.facts().early_media

    asyncio.run(main())


@pytest.mark.parametrize("srtp", ["offered", "required"])
def test_keys_travel_in_the_offer(srtp):
    async def main():
        async with AudioAgent() as agent, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(agent.url, srtp=srtp)
            assert is_echo(await say_and_hear(caller, heard, PCMU))
            assert agent.agreed[0].incoming is not None
            assert agent.lines[caller.facts().call_id].forged == 0
            assert set(re.findall(r"inline:(\S+?)\\r", str(caller.details))) == {"(hidden)"}

    asyncio.run(main())


def test_the_agent_chooses_among_several_codecs():
    async def main():
        async with AudioAgent(codecs=[G722, PCMA]) as agent, SipBench(audio=True) as bench:
            caller, heard = await bench.connect(agent.url, codecs=("PCMU", "PCMA", "G722"))
            assert caller.codec is PCMA
            assert is_echo(await say_and_hear(caller, heard, PCMA))

    asyncio.run(main())


def test_audio_before_the_answer_is_early_media_and_no_greeting():
    async def main():
        async with AudioAgent(early=True) as agent, SipBench(audio=True) as bench:
            connecting = asyncio.create_task(bench.connect(agent.url))
            # The caller hears its own early words echoed while it still rings.
            async with asyncio.timeout(20):
                while not bench.callers or bench.callers[0].media is None:
                    await asyncio.sleep(0.01)
                bench.callers[0].media.play(utterance(PCMU))
                while bench.callers[0].facts().early_onset_ms is None:
                    await asyncio.sleep(0.01)
            # To their end: what goes on behind the answer is heard as the agent's.
            await asyncio.sleep(0.6)
            agent.go_on.set()
            caller, heard = await connecting
            facts = caller.facts()
            assert facts.early_media
            assert facts.early_onset_ms is not None
            assert facts.early_onset_ms <= facts.answer_delay_ms
            assert is_echo(await say_and_hear(caller, heard, PCMU))

    asyncio.run(main())


def test_the_caller_puts_the_agent_on_hold_and_resumes():
    async def main():
        async with AudioAgent() as agent, SipBench(audio=True) as bench:
            limits = CallLimits(connect_timeout_ms=8_000, media_timeout_ms=600)
            caller, heard = await bench.connect(agent.url, limits=limits)
            await say_and_hear(caller, heard, PCMU)
            caller.hold(on=True)
            await agent.until(lambda a: len(a.directions) == 1)
            # Longer than silence is borne otherwise.
            await asyncio.sleep(1.2)
            caller.hold(on=False)
            await agent.until(lambda a: len(a.directions) == 2)
            assert agent.directions == [(False, True), (True, True)]
            assert is_echo(await say_and_hear(caller, heard, PCMU))
            assert (caller.facts().holds, caller.facts().holds_refused) == (1, 0)
            assert caller.media.stats().packets_received > 0

    asyncio.run(main())


def test_the_agent_holds_resumes_and_moves_its_media():
    async def main():
        async with AudioAgent() as agent, SipBench(audio=True) as bench:
            limits = CallLimits(connect_timeout_ms=8_000, media_timeout_ms=600)
            caller, heard = await bench.connect(agent.url, limits=limits)
            await say_and_hear(caller, heard, PCMU)
            call, session = agent.calls[0], agent.sessions[agent.calls[0].id]
            call.reinvite(session.offer("sendonly").encode(), agent.now())
            agent.endpoint.flush()
            await agent.until_seen(events.OfferAnswered)
            assert not session.agreed.hears
            agent.lines[call.id].mute = True
            await asyncio.sleep(1.2)
            # Back, at another port.
            moved = await open_line(ssrc=agent.lines[call.id].ssrc)
            agent.lines["moved"] = moved
            port = moved.transport.get_extra_info("sockname")[1]
            session._ours = replace(session._ours, port=port)
            session._local = replace(session._local, port=port)
            agent.seen.clear()
            call.reinvite(session.offer("sendrecv").encode(), agent.now())
            agent.endpoint.flush()
            await agent.until_seen(events.OfferAnswered)
            assert is_echo(await say_and_hear(caller, heard, PCMU))
            assert caller.facts().changes == 2
            assert len(moved.rtp) > 0

    asyncio.run(main())


def test_keys_pressed_reach_the_agent():
    async def main():
        async with AudioAgent() as agent, SipBench(audio=True) as bench:
            caller, _heard = await bench.connect(agent.url)
            caller.press("1#")
            async with asyncio.timeout(10):
                while caller.facts().digits_sent < 2:
                    await asyncio.sleep(0.05)
            wanted = agent.agreed[0].events_in
            told = [p for p in agent.lines[caller.facts().call_id].rtp if p[1] & 0x7F == wanted]
            assert {p[12] for p in told} == {1, 11}

    asyncio.run(main())


def test_calls_that_cannot_be_told_apart_get_ports_of_their_own():
    async def main():
        async with AudioAgent(one_port=True, announce=False, srtp="off") as agent, SipBench(audio=True) as bench:
            one, _ = await bench.connect(agent.url)
            # The same local port would have to serve both: they share one after four calls.
            others = [await bench.connect(agent.url, f"call-{i}") for i in range(4)]
            for caller, heard in others:
                assert is_echo(await say_and_hear(caller, heard, PCMU))
            ports = [caller._media._leg.source for caller in (one, *(caller for caller, _ in others))]
            assert not ports[-1].is_shared
            assert len({source.port.address for source in ports}) == 5

    asyncio.run(main())


def test_an_agent_whose_media_stops_is_noticed():
    async def main():
        async with AudioAgent() as agent, SipBench(audio=True) as bench:
            limits = CallLimits(connect_timeout_ms=8_000, media_timeout_ms=400)
            caller, heard = await bench.connect(agent.url, limits=limits)
            await say_and_hear(caller, heard, PCMU)
            agent.lines[caller.facts().call_id].mute = True
            await until(heard, MediaLost)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"nonsense", "unusable"),
        (sdp(0), "port 0"),
        (sdp(4000, "sendrecv").replace(b"PCMU", b"GSM"), "no offered codec"),
        (sdp(4000, "sendrecv").replace(b"127.0.0.1", b"192.0.2.1"), "cannot be reached"),
    ],
)
def test_an_answer_that_cannot_be_used_is_hung_up(body, expected):
    def script(agent, event):
        if isinstance(event, events.Incoming):
            event.call.accept(body, agent.now())

    async def main():
        async with SipAgent(script) as agent, SipBench(audio=True) as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url)
            assert caught.value.cause is Cause.SIGNALLING_REFUSED
            assert expected in caught.value.detail
            await bench.callers[0].close()
            await agent.until_seen(events.Ended)

    asyncio.run(main())
