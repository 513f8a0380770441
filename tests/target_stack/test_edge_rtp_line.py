"""One RTP line against a socket of the test's own."""

import asyncio
import contextlib

import numpy as np
import pytest
from edge_peer import Sessions, rms, until
from rtp_peer import Peer, in_packets

from harness.media.codecs import CODECS, PCMA, PCMU
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols import dtmf, sdes
from harness.protocols.audio_sdp import Format
from harness.protocols.offer_answer import Agreed
from target_stack.edge.agent_call import AgentCall, CallLimits, EndReason
from target_stack.edge.caller_audio import CallerAudio
from target_stack.edge.rtp import packet as rtp
from target_stack.edge.rtp import rtcp
from target_stack.edge.rtp.line import RtpLine
from target_stack.edge.rtp.ticker import Ticker

pytestmark = pytest.mark.loopback


def agreed(peer, codec=PCMU, **changes):
    form = Format(codec.payload_type, codec.name, codec.clock_rate)
    fields = {
        "host": peer.address[0],
        "port": peer.address[1],
        "form": form,
        "outgoing": None,
        "incoming": None,
        "ssrc": None,
        "rtcp_mux": True,
        "heard_payload_type": codec.payload_type,
        "events_in": 101,
    }
    return Agreed(**(fields | changes))


@contextlib.asynccontextmanager
async def line_to(peer, agreed_now, heard_last=None, **script):
    """Yield (line, its address, session, digits); the session has begun. `heard_last`: who is spoken to in the end."""
    sessions, ticker = Sessions(**script), Ticker()
    call = AgentCall("c", sessions, CallLimits())
    digits = []
    line = RtpLine(call, ticker, digits.append)
    address = await line.open("127.0.0.1")
    line.agree(agreed_now, peer.address)
    line.speak()
    call.connected()

    async def release(_reason):
        await line.close()

    running = asyncio.create_task(call.run(release))
    try:
        await until(lambda: call.listening is not None, "listening")
        yield line, address, sessions.made[0], digits
    finally:
        last = heard_last or peer
        last.got.append((b"", None))
        call.hang_up(EndReason.HUNG_UP)
        await running
        await ticker.aclose()
        # The line's goodbye went last, so it is the last to be read.
        await until(lambda: rtp.is_rtcp(last.got[-1][0]), "said goodbye")
        peer.transport.close()


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_speech_goes_both_ways(codec):
    async def scenario():
        peer = await Peer().open()
        async with line_to(peer, agreed(peer, codec), greeting_s=0.3) as (line, address, session, _):
            await until(lambda: ("drained", 0) in session.playout, "greeted")
            for index, payload in enumerate(in_packets(codec)):
                peer.send(address, codec.payload_type, payload, timestamp=index * codec.ticks_per_packet)
            await until(lambda: session.audio_samples > 0.35 * 16_000, "heard")
            assert session.loud_samples > 0.35 * 16_000
            counts = line.counts
        packets = peer.packets()
        assert [p.payload_type for p in packets] == [codec.payload_type] * len(packets)
        assert {p.ssrc for p in packets} == {line.ssrc}
        steps = np.diff([p.sequence for p in packets])
        assert set(steps) == {1}
        # A beat that was held up for long skips packets, and their time with them.
        assert all(step > 0 and step % codec.ticks_per_packet == 0 for step in np.diff([p.timestamp for p in packets]))
        ear = CallerAudio(codec)
        spoken = np.concatenate([ear.take(p.sequence, p.timestamp, p.payload) for p in packets])
        loud = sum(rms(part) > 1000 for part in np.array_split(spoken, len(packets)))
        assert 14 <= loud <= 17
        # The marker bit says where a talkspurt begins.
        assert sum(p.marker for p in packets) == 1
        assert (counts.heard, counts.lost, counts.strays, counts.srtp_failures) == (20, 0, 0, 0)
        assert rtcp.parse(next(data for data, _ in reversed(peer.got) if rtp.is_rtcp(data))).is_bye

    asyncio.run(scenario())


@pytest.mark.parametrize("suite", sdes.SUITES, ids=lambda suite: suite.name)
def test_srtp_with_keys_from_sdp(suite):
    async def scenario():
        ours, theirs = (sdes.Crypto(1, suite, bytes([seed]) * suite.material_bytes) for seed in (1, 2))
        peer = await Peer().open()
        protect, opened = outgoing_session(theirs).protect, incoming_session(ours).unprotect
        now = agreed(peer, outgoing=ours, incoming=theirs)
        async with line_to(peer, now) as (line, address, session, _):
            for payload in in_packets(PCMU):
                peer.send(address, 0, payload, protect=protect)
            await until(lambda: session.audio_samples > 0.35 * 16_000, "heard")
            peer.send(address, 0, b"not encrypted")
            await until(lambda: line.counts.srtp_failures == 1, "a bad packet counted")
            # A re-INVITE that changes nothing lets the keys' counters go on.
            line.agree(now, peer.address)
            before = len(peer.got)
            await until(lambda: len(peer.got) > before + 3, "still speaking")
            assert session.loud_samples > 0.35 * 16_000
        assert all(packet.payload_type == 0 for packet in peer.packets(opened))

    asyncio.run(scenario())


def test_keys_become_events_and_leave_no_hole_in_what_is_heard():
    async def scenario():
        peer = await Peer().open()
        async with line_to(peer, agreed(peer)) as (line, address, session, digits):
            for payload in in_packets(PCMU, 0.1):
                peer.send(address, 0, payload)
            for is_end in (False, False, True, True, True):
                event = dtmf.EventPacket(9, 480, is_end=is_end)
                peer.send(address, 101, dtmf.pack(event), timestamp=50_000)
            for payload in in_packets(PCMU, 0.1):
                peer.send(address, 0, payload)
            await until(lambda: line.counts.heard == 15, "all heard")
            assert [(d.digit, d.duration_ms) for d in digits] == [("9", 60.0)]
            assert session.audio_samples == pytest.approx(0.2 * 16_000, abs=40)
            assert line.counts.strays == 0

    asyncio.run(scenario())


def test_hold_silences_the_agent_and_keeps_its_words():
    async def scenario():
        peer = await Peer().open()
        async with line_to(peer, agreed(peer), greeting_s=3.0) as (line, _, session, _):
            await until(lambda: len(peer.packets()) > 5, "speaking")
            line.agree(agreed(peer, sends=False, hears=False), peer.address)
            await asyncio.sleep(0.05)
            held = len(peer.packets())
            await asyncio.sleep(0.2)
            assert len(peer.packets()) == held
            line.agree(agreed(peer, PCMA), peer.address)
            await until(lambda: len(peer.packets()) > held + 5, "speaking again")
            packets = peer.packets()
            assert packets[held].payload_type == PCMA.payload_type
            # Time went on, sequence numbers did not.
            assert packets[held].sequence == packets[held - 1].sequence + 1
            assert packets[held].timestamp - packets[held - 1].timestamp >= 9 * 160
            assert ("drained", 0) not in session.playout

    asyncio.run(scenario())


def test_what_a_codec_has_lost_stays_counted_when_another_takes_over():
    async def scenario():
        peer = await Peer().open()
        async with line_to(peer, agreed(peer)) as (line, address, _, _):
            for index, payload in enumerate(in_packets(PCMU, 0.2)):
                # One is lost on its way.
                peer.sequence += index == 5
                peer.send(address, 0, payload)
            await until(lambda: line.counts.heard == 10, "all heard")
            line.agree(agreed(peer, PCMA), peer.address)
            for payload in in_packets(PCMA, 0.1):
                peer.send(address, PCMA.payload_type, payload)
            await until(lambda: line.counts.heard == 15, "the rest heard")
        assert (line.counts.lost, line.counts.late) == (1, 0)

    asyncio.run(scenario())


def test_a_caller_behind_a_nat_is_answered_to_where_it_comes_from_until_sdp_moves_it():
    async def scenario():
        announced, nat, moved, stranger = [await Peer().open() for _ in range(4)]
        async with line_to(announced, agreed(announced), heard_last=moved) as (line, address, _, _):
            await until(announced.packets, "spoken to where SDP says")
            nat.send(address, 0, b"\xff" * 160)
            await until(nat.packets, "spoken to where it comes from")
            stranger.send(address, 0, b"\xff" * 160)
            await until(lambda: line.counts.strays == 1, "a stranger ignored")
            line.agree(agreed(moved), moved.address)
            await until(moved.packets, "moved")
            nat.send(address, 0, b"\xff" * 160)
            await until(lambda: line.counts.strays == 2, "the place left is left")
        for peer in (nat, moved, stranger):
            peer.transport.close()
        assert not stranger.got

    asyncio.run(scenario())


def test_who_had_the_port_before_does_not_take_the_line_from_its_caller():
    async def scenario():
        caller, stale = [await Peer().open() for _ in range(2)]
        async with line_to(caller, agreed(caller)) as (line, address, session, _):
            # A call of a server that died had this port; its caller goes on until it misses the audio.
            stale.send(address, 0, b"\xff" * 160)
            await until(stale.packets, "the first that fits is answered")
            for payload in in_packets(PCMU):
                caller.send(address, 0, payload)
                stale.send(address, 0, b"\xff" * 160)
            await until(lambda: line.counts.strays == 20, "the stale ones counted")
            assert session.loud_samples > 0.35 * 16_000
            before, told = len(caller.got), len(stale.got)
            await until(lambda: len(caller.got) > before + 3, "spoken to")
            assert len(stale.got) <= told + 1
        stale.transport.close()

    asyncio.run(scenario())


def test_a_caller_behind_a_nat_has_the_line_once_the_one_before_is_silent(monkeypatch):
    monkeypatch.setattr("target_stack.edge.rtp.line._SILENT_NS", 100_000_000)

    async def scenario():
        announced, stale, nat = [await Peer().open() for _ in range(3)]
        async with line_to(announced, agreed(announced), heard_last=nat) as (line, address, session, _):
            stale.send(address, 0, b"\xff" * 160)
            await until(stale.packets, "the first that fits is answered")
            nat.send(address, 0, b"\xff" * 160)
            await until(lambda: line.counts.strays == 1, "not while the other sends")
            await asyncio.sleep(0.15)
            for payload in in_packets(PCMU):
                nat.send(address, 0, payload)
            await until(nat.packets, "spoken to where it comes from")
            await until(lambda: session.loud_samples > 0.35 * 16_000, "heard")
        for peer in (announced, stale):
            peer.transport.close()

    asyncio.run(scenario())


def test_what_came_while_the_loop_was_busy_is_read_at_once_and_not_packet_by_packet():
    async def scenario():
        peer = await Peer().open()
        async with line_to(peer, agreed(peer)) as (line, address, session, _):
            # No turn for the event loop until all of them are there.
            for payload in in_packets(PCMU, 1.0):
                peer.send(address, 0, payload)
            before = line.counts.heard
            # The loop looks once at what it can read.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (before, line.counts.heard) == (0, 50)
            assert session.audio_samples == pytest.approx(50 * 320, abs=400)

    asyncio.run(scenario())


def test_a_line_on_shared_time_survives_a_neighbour_that_fails():
    async def scenario():
        ticker, seen = Ticker(), []

        def broken(_number):
            raise ValueError("broken")

        ticker.add(broken)
        ticker.add(seen.append)
        await until(lambda: len(seen) > 3, "ticks")
        await ticker.aclose()
        assert seen == list(range(len(seen)))

    asyncio.run(scenario())
