"""RTP calls over loopback: every codec, every SDES suite, shared ports and one each, and answers that are no use."""

import asyncio
import contextlib
import struct

import pytest
from rtp_agent import RtpAgent, open_line
from rtp_bench import Bench, is_echo, plan, say_and_hear, utterance

from harness.callers.audio_leg import format_of
from harness.callers.rtp import RtpCaller
from harness.callers.setup_failure import SetupFailure
from harness.callers.source_ports import SHARED_PORTS
from harness.media.codecs import CODECS, OPUS, PCMU, codec_named
from harness.media.events import SpeechEnded
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.protocols.sdes import AES_CM_80, SUITES

pytestmark = pytest.mark.loopback

ALL_FORMATS = [format_of(codec) for codec in CODECS]
CODEC_NAMES = [codec.name for codec in CODECS]


@pytest.mark.parametrize("codec", CODECS, ids=CODEC_NAMES)
@pytest.mark.parametrize("srtp", ["off", "required"])
def test_a_call_by_sdp_in_every_codec(codec, srtp):
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS) as agent:
            caller, events = await bench.connect(agent.url, codec=codec.name, srtp=srtp, headers={"X-Token": "t"})
            assert is_echo(await say_and_hear(caller, events, codec))
            assert caller.setup.signalling_ms <= caller.setup.total_ms
            await caller.close()
            line = agent.lines["1"]
            stats = caller.media.stats()
            assert (stats.packets_lost, stats.packets_discarded, stats.send_errors, line.forged) == (0, 0, 0, 0)
            assert 0 < stats.packets_received <= stats.packets_sent == len(line.rtp)
            assert (agent.ended, agent.headers[0]["X-Token"]) == (["1"], "t")
            assert agent.offers[0].profile == ("RTP/AVP" if srtp == "off" else "RTP/SAVP")
            assert {packet[1] & 0x7F for packet in line.rtp} == {codec.payload_type}
            assert {struct.unpack_from("!I", p, 8)[0] for p in line.rtp} == {agent.offers[0].ssrc}
            # The last word is RTCP BYE, on the same port.
            assert line.rtcp[-1][9] == 203

    asyncio.run(main())


def test_an_agent_named_localhost_is_called_where_it_listens():
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS) as agent:
            await bench.connect(agent.url.replace("127.0.0.1", "localhost"), codec="PCMU")
            assert agent.offers[0].host == "127.0.0.1"

    asyncio.run(main())


@pytest.mark.parametrize("suite", SUITES, ids=[s.name for s in SUITES])
def test_every_suite_carries_a_call(suite):
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS, suites=[suite]) as agent:
            caller, events = await bench.connect(agent.url, codec="PCMU", srtp="required")
            assert is_echo(await say_and_hear(caller, events, PCMU))
            assert caller.media.stats().packets_discarded == 0

    asyncio.run(main())


@pytest.mark.parametrize(("suites", "is_encrypted"), [(SUITES, True), ((), False)])
def test_offered_keys_are_the_agents_choice(suites, is_encrypted):
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS, suites=suites) as agent:
            caller, events = await bench.connect(
                agent.url, codec="PCMU", srtp="offered", srtp_suites=("AES_CM_128_HMAC_SHA1_80",)
            )
            assert is_echo(await say_and_hear(caller, events, PCMU))
            assert (agent.offers[0].profile, [c.suite for c in agent.offers[0].crypto]) == ("RTP/AVP", [AES_CM_80])
            assert (agent.lines["1"].incoming is not None) == is_encrypted

    asyncio.run(main())


def test_packets_that_do_not_authenticate_are_discarded_and_no_onset():
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS) as agent:
            caller, events = await bench.connect(agent.url, codec="PCMU", srtp="required")
            agent.lines["1"].outgoing = None
            caller.media.play(utterance(PCMU))
            while not isinstance(await asyncio.wait_for(events.get(), 20), SpeechEnded):
                pass
            while caller.media.stats().packets_discarded < 20:
                await asyncio.sleep(0.02)
            assert caller.media.stats().packets_received == 0
            assert events.empty()

    asyncio.run(main())


@pytest.mark.parametrize("source_ports", ["auto", "shared"])
def test_static_address(source_ports):
    async def main():
        async with Bench() as bench:
            line = await open_line()
            address = line.transport.get_extra_info("sockname")
            calls = [
                await bench.connect(
                    f"rtp://127.0.0.1:{address[1]}", f"call-{i}", codec="G722", source_ports=source_ports
                )
                for i in range(SHARED_PORTS + 2)
            ]
            codec = codec_named("G722")
            delays = await asyncio.gather(*(say_and_hear(caller, events, codec) for caller, events in calls))
            assert all(map(is_echo, delays))
            for caller, _events in calls:
                await caller.close()
                stats = caller.media.stats()
                assert (stats.packets_lost, stats.packets_discarded) == (0, 0)
            assert len(line.sources) == (SHARED_PORTS if source_ports == "shared" else len(calls))
            line.transport.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("agent_has", "source_ports", "own_ports", "offers"),
    [
        # A port for each call: all share.
        ({}, "auto", 0, 6),
        ({"announce": False}, "auto", 0, 6),
        ({"announce": False}, "shared", 0, 6),
        ({}, "per_call", 6, 6),
        # One port, but an SSRC for each call.
        ({"one_port": True}, "auto", 0, 6),
        # One port and no SSRC: the first call on each shared port goes through; the fifth is set up twice.
        ({"one_port": True, "announce": False}, "auto", 2, 7),
    ],
)
def test_calls_share_ports_where_they_can_be_told_apart(agent_has, source_ports, own_ports, offers):
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS, **agent_has) as agent:
            calls = [
                await bench.connect(agent.url, f"call-{i}", codec="PCMU", source_ports=source_ports)
                for i in range(SHARED_PORTS + 2)
            ]
            delays = await asyncio.gather(*(say_and_hear(caller, events, PCMU) for caller, events in calls))
            assert all(map(is_echo, delays))
            assert len(agent.offers) == offers
            ports = [offer.port for offer in agent.offers]
            assert len(set(ports)) == (own_ports + min(SHARED_PORTS, len(calls) - own_ports))
            # A call that was set up anew has ended its first set-up.
            assert len(agent.ended) == offers - len(calls)

    asyncio.run(main())


def test_a_shared_port_that_was_asked_for_is_not_left_in_silence():
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS, one_port=True, announce=False) as agent:
            for i in range(SHARED_PORTS):
                await bench.connect(agent.url, f"call-{i}", codec="PCMU", source_ports="shared")
            with pytest.raises(SetupFailure, match="legal for this target: source_ports: auto, per_call") as caught:
                await bench.connect(agent.url, "one-more", codec="PCMU", source_ports="shared")
            assert caught.value.cause is Cause.GENERATOR_ERROR

    asyncio.run(main())


def without(prefix):
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith(prefix))


SPOILED = {
    "no sdp": (lambda _: "hello", "the line v=0 is missing"),
    "no audio": (without("m="), "without an audio stream"),
    "no address": (without("c="), "c= line"),
    "port 0": (lambda t: t.replace("m=audio ", "m=audio 0 RTP/AVP 0\r\nx="), "refuses the audio (port 0)"),
    "other codec": (lambda t: t.replace("PCMU", "GSM"), "answered GSM/8000; offered PCMU/8000"),
    "hold": (lambda t: t.replace("a=sendrecv", "a=inactive"), "is inactive; a call needs sendrecv"),
    "no key": (without("a=crypto"), "has no key for SRTP"),
    "half a key": (lambda t: t.replace("inline:", "inline:AAAA"), "the suite wants 28"),
    "line": (lambda t: t + "oops\r\n", "SDP line 13: 'oops' is not of the form letter=value"),
    "elsewhere": (lambda t: t.replace("127.0.0.1", "192.0.2.1"), "192.0.2.1:"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_an_unusable_answer_names_the_flaw_and_leaves_nothing_behind(name):
    edit, expected = SPOILED[name]

    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS, edit=edit) as agent:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url, codec="PCMU", srtp="required", source_ports="per_call")
            assert caught.value.cause is Cause.SIGNALLING_REFUSED
            assert expected in caught.value.detail
            assert agent.url in caught.value.detail
            caller, _events = bench.callers[0]
            await caller.close()
            assert agent.ended == ["1"]
            assert caller.media is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "cause", "expected"),
    [
        ("er", Cause.SIGNALLING_REFUSED, "HTTP 404"),
        ("", Cause.SIGNALLING_REFUSED, "HTTP 500"),
    ],
)
def test_an_agent_that_refuses(path, cause, expected):
    async def main():
        # An agent that has no codec of ours fails by itself.
        async with Bench() as bench, RtpAgent([format_of(OPUS)]) as agent:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url + path, codec="PCMU")
            assert (caught.value.cause, expected in caught.value.detail) == (cause, True)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "cause", "expected"),
    [
        ("http://127.0.0.1:1/call", Cause.SIGNALLING_UNREACHABLE, "127.0.0.1"),
        ("http://nowhere.invalid/call", Cause.SIGNALLING_UNREACHABLE, "nowhere.invalid does not resolve"),
        ("rtp://nowhere.invalid:9", Cause.SIGNALLING_UNREACHABLE, "nowhere.invalid does not resolve"),
    ],
)
def test_nobody_there(url, cause, expected):
    async def main():
        async with Bench() as bench:
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(url, codec="PCMU")
            assert (caught.value.cause, expected in caught.value.detail) == (cause, True)

    asyncio.run(main())


def test_an_agent_that_never_answers_times_out():
    async def main():
        async def swallow(reader, _writer):
            with contextlib.suppress(ConnectionError):
                await reader.read()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with Bench() as bench, server:
            events = asyncio.Queue()
            slow = plan(url, codec="PCMU")
            object.__setattr__(slow, "limits", CallLimits(connect_timeout_ms=100))
            caller = RtpCaller(slow, bench.http, bench.loop, bench.ports, events.put_nowait)
            bench.callers.append((caller, events))
            with pytest.raises(SetupFailure) as caught:
                async with bench.queue.turn(None) as turn:
                    await caller.connect(turn)
            assert caught.value.cause is Cause.SIGNALLING_TIMEOUT

    asyncio.run(main())


def test_ports_of_calls_are_closed_and_shared_ones_stay(tmp_path):
    async def main():
        async with Bench() as bench, RtpAgent(ALL_FORMATS) as agent:
            before = bench.ports.shared("127.0.0.1").port
            for i in range(3):
                caller, events = await bench.connect(
                    agent.url, f"call-{i}", codec="PCMU", source_ports="per_call", record=True
                )
                await say_and_hear(caller, events, PCMU)
                own = caller._leg.source.port
                await caller.close()
                assert own.is_closed
            caller.recorder.write(tmp_path / "call.flac")
            assert (tmp_path / "call.flac").stat().st_size > 1000
            assert not before.is_closed

    asyncio.run(main())
