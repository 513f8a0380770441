"""SRTP of a running loop against pylibsrtp at the other end, every profile; forgeries change nothing."""

import asyncio

import pytest
import reference_rtcp as rtcp
from loop_lab import PlainPeer, clip_of, is_report, rtp_packet, running_loop, spec, until
from pylibsrtp import Error, Session

from harness.media.events import RemoteBye, SpeechEnded
from harness.media.hot.layout import Counter
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols import sdes

pytestmark = pytest.mark.loopback

SUITES = [sdes.AES_CM_80, sdes.AES_CM_32, sdes.AES_GCM_128, sdes.AES_GCM_256]
# Key and salt in bytes (RFC 4568 6.1, RFC 7714 12).
MATERIAL_BYTES = {sdes.AES_CM_80: 30, sdes.AES_CM_32: 30, sdes.AES_GCM_128: 28, sdes.AES_GCM_256: 44}


def crypto(suite, first):
    return sdes.Crypto(1, suite, bytes((first + i) & 0xFF for i in range(MATERIAL_BYTES[suite])))


def opened(session: Session, data):
    return session.unprotect_rtcp(data) if is_report(data) else session.unprotect(data)


@pytest.mark.parametrize("suite", SUITES)
def test_both_directions_are_what_libsrtp_makes_and_forgeries_count_as_bad(suite):
    ours, theirs = crypto(suite, 1), crypto(suite, 100)

    async def talk():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                keys = {"outgoing": outgoing_session(ours), "incoming": incoming_session(theirs)}
                calls = [
                    loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True, post=posted, **keys)) for ssrc in (1,)
                ]
                call = calls[0]
                await until(lambda: call.stats().packets_sent)
                call.play(clip_of("a", 12))
                sender = outgoing_session(theirs)
                sound = [sender.protect(rtp_packet(n, ssrc=1)) for n in range(5)]
                forged = bytearray(sound[4])
                forged[-1] ^= 1
                # Changed, cut, without protection, and one that came before.
                for data in (*sound[:4], bytes(forged), sound[3][:-3], rtp_packet(9, ssrc=1), sound[2], sound[4]):
                    peer.send(data, port)
                peer.send(rtcp.pack_bye(1), port)
                await until(lambda: call.stats().packets_received == 5)
                await until(lambda: call.stats().packets_discarded == 5)
                assert not [event for event in posted if isinstance(event, RemoteBye)]
                peer.send(sender.protect_rtcp(rtcp.pack_bye(1)), port)
                await until(lambda: [event for event in posted if isinstance(event, RemoteBye)])
                await until(lambda: any(isinstance(event, SpeechEnded) for event in posted))
                told = await call.close()
                assert (told.packets_received, told.packets_lost, told.packets_discarded) == (5, 0, 5)
            return peer.read()

    came = [data for data, _ in asyncio.run(talk())]
    receiver = incoming_session(ours)
    plain = [opened(receiver, data) for data in came]
    payloads = [data[12:] for data in plain if not is_report(data)]
    start = next(i for i, payload in enumerate(payloads) if payload[0] == 0)
    assert payloads[start : start + 11] == list(clip_of("a", 12).payloads)[:11]
    reports = [data for data in plain if is_report(data)]
    assert reports[-1] == rtcp.pack_bye(1)
    assert all(rtcp.parse(report) for report in reports)
    with pytest.raises(Error):
        opened(incoming_session(theirs), next(data for data in came if not is_report(data)))


def test_protected_packets_are_segmented_too_and_each_opens_with_its_own_key():
    keys = {ssrc: crypto(sdes.AES_GCM_128, 10 * ssrc) for ssrc in range(1, 65)}

    async def talk():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                calls = [
                    loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True, outgoing=outgoing_session(key)))
                    for ssrc, key in keys.items()
                ]
                await until(lambda: peer.read() and all(call.stats().packets_sent > 20 for call in calls))
                for call in calls:
                    await call.close()
                assert int(loop._media.counters[Counter.SEGMENTED]) > 0
            return peer.read()

    sessions = {ssrc: incoming_session(key) for ssrc, key in keys.items()}
    opened_packets = 0
    for data, _ in asyncio.run(talk()):
        at = 4 if is_report(data) else 8
        opened(sessions[int.from_bytes(data[at : at + 4], "big")], data)
        opened_packets += 1
    assert opened_packets > 32 * 20
