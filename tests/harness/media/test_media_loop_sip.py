"""What SIP asks of a running loop: digits from end to end, holds, a call that goes on elsewhere while packets flow."""

import asyncio
from dataclasses import replace

import pytest
import reference_rtp as rtp
from loop_lab import PlainPeer, clip_of, rtp_packet, running_loop, spec, until

from harness.media.codecs import PCMA, PCMU
from harness.media.events import DigitEnded, DigitHeard, DigitSent, MediaLost, SpeechEnded
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols import sdes

pytestmark = pytest.mark.loopback


def two_calls(loop):
    """Return two calls of one loop that are each other's agents, and what each was told."""
    ports = [loop.open_port("127.0.0.1", lambda *_: None) for _ in range(2)]
    told = [], []
    said = {"events_out": 101, "events_in": 101}
    calls = [loop.add_call(ports[i], spec(ports[1 - i].address, 0xAAAA + i, post=told[i], **said)) for i in range(2)]
    return calls, told


def test_digits_go_from_one_call_to_the_other():
    digits = "0123456789*#ABCD"

    async def talk():
        async with running_loop() as loop:
            (one, other), (sent, heard) = two_calls(loop)
            one.send_dtmf(digits, duration_ms=40, pause_ms=40)
            await until(lambda: sum(isinstance(event, DigitEnded) for event in heard) == len(digits))
            await until(lambda: sum(isinstance(event, DigitSent) for event in sent) == len(digits))
            return sent, heard, await one.close(), await other.close()

    sent, heard, of_one, of_other = asyncio.run(talk())
    assert "".join(e.digit for e in sent if isinstance(e, DigitSent)) == digits
    assert "".join(e.digit for e in heard if isinstance(e, DigitHeard)) == digits
    ended = [e for e in heard if isinstance(e, DigitEnded)]
    assert [e.digit for e in ended] == list(digits)
    assert {e.duration_ms for e in ended} == {40.0}
    assert (of_other.packets_lost, of_other.packets_discarded, of_one.send_errors) == (0, 0, 0)


def test_a_held_call_s_silence_is_no_loss_and_after_it_there_is_one_again():
    async def talk():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                call = loop.add_call(port, spec(peer.address, post=posted, media_timeout_ms=100))
                call.hold(True)
                await until(peer.reports)
                # Reports go on while audio does not: three of them are 2 s, twenty times the time-out.
                reports, packets = len(peer.reports()), len(peer.packets())
                await until(lambda: len(peer.reports()) >= reports + 2)
                held = list(posted), len(peer.packets()) - packets
                call.hold(False)
                await until(lambda: posted)
                await call.close()
            return held, posted

    held, posted = asyncio.run(talk())
    assert held == ([], 0)
    assert isinstance(posted[0], MediaLost)


@pytest.mark.parametrize("suite", [None, *sdes.SUITES], ids=lambda suite: getattr(suite, "name", "plain"))
def test_a_call_that_moves_loses_nothing_on_the_way(suite):
    """Packets n to m at one place, m + 1 on at the other, with other keys; the clip is whole."""

    def sessions(fill):
        if suite is None:
            return {}, None
        crypto = sdes.Crypto(1, suite, bytes([fill]) * suite.material_bytes)
        made = {"outgoing": outgoing_session(crypto), "incoming": incoming_session(crypto)}
        return made, incoming_session(crypto)

    def opened(peer, session):
        audio = [data for data, _ in peer.read() if not 192 <= data[1] <= 223]
        plain = audio if session is None else [session.unprotect(data) for data in audio]
        return [(rtp.parse_header(data).sequence_number, data[12]) for data in plain]

    async def talk():
        posted = []
        (keys, opener), (other_keys, other_opener) = sessions(1), sessions(2)
        with PlainPeer() as one, PlainPeer() as other:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                call = loop.add_call(port, spec(one.address, post=posted, **keys))
                call.play(clip_of("a", 40))
                await until(lambda: len(one.read()) > 10)
                call.redirect(replace(call.spec, remote=other.address, **other_keys))
                await until(lambda: any(isinstance(event, SpeechEnded) for event in posted))
                stats = await call.close()
            return opened(one, opener), opened(other, other_opener), stats

    before, after, stats = asyncio.run(talk())
    assert before
    assert after
    assert [number for number, _ in before + after] == list(range(stats.packets_sent))
    spoken = [octet for _, octet in before + after if octet != 0xFF]
    # Its last packet is behind its last voiced one.
    assert spoken[:39] == list(range(39))


def test_a_call_hears_its_new_peer_and_the_old_one_no_more():
    async def talk():
        with PlainPeer() as one, PlainPeer() as other:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                call = loop.add_call(port, spec(one.address))
                one.send(rtp_packet(1), port)
                await until(lambda: call.stats().packets_received == 1)
                call.redirect(replace(call.spec, remote=other.address, codec=PCMA, payload_type=8))
                await until(other.packets)
                one.send(rtp_packet(2), port)
                other.send(rtp_packet(7, PCMA.silence, payload_type=8, ssrc=0xCCCC), port)
                await until(lambda: call.stats().packets_received == 2)
                unknown = loop.take_stats().unknown_source
                stats = await call.close()
                # Its row is free for another call, with nothing of this one.
                again = loop.add_call(port, spec(one.address))
                await until(lambda: any(header.sequence_number < 5 for header, _ in one.packets()[-1:]))
                return unknown, stats, await again.close(), other.packets()

    unknown, stats, again, at_other = asyncio.run(talk())
    assert unknown == 1
    assert (stats.packets_received, stats.packets_lost) == (2, 0)
    assert {(header.payload_type, payload) for header, payload in at_other} == {(8, PCMA.silence)}
    assert again.packets_received == 0


def test_a_call_that_is_redirected_and_closed_at_once_gives_all_back():
    async def talk():
        with PlainPeer() as one, PlainPeer() as other:
            async with running_loop(2) as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                for _ in range(8):
                    call = loop.add_call(port, spec(one.address))
                    call.redirect(replace(call.spec, remote=other.address))
                    call.redirect(replace(call.spec, remote=one.address))
                    await call.close()
                    call.redirect(replace(call.spec, remote=other.address))
                assert loop._calls._keys == set()
                assert len(loop._calls._redirects._free) == 2

    asyncio.run(talk())


def test_rtcp_has_its_own_way():
    async def talk():
        with PlainPeer() as audio, PlainPeer() as reports:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                said = {"rtcp_remote": reports.address, "any_source": True}
                call = loop.add_call(port, spec(audio.address, codec=PCMU, **said))
                await until(lambda: reports.reports() and audio.packets())
                await call.close()
                # The goodbye, too.
                await until(lambda: len(reports.reports()) >= 2)
            return len(audio.reports()), reports.packets(), [data[1] for data in reports.reports()]

    at_audio, packets, kinds = asyncio.run(talk())
    assert (at_audio, packets) == (0, [])
    assert (kinds[0], kinds[-1]) == (200, 201)
