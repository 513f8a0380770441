"""What a running loop makes of what a plain socket sends it."""

import asyncio
import random
import time

import pytest
import reference_rtcp as rtcp
import reference_rtp as rtp
from loop_lab import PlainPeer, rtp_packet, running_loop, spec, until

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.events import MediaLost, RemoteBye
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.recorder import Recorder

pytestmark = pytest.mark.loopback

STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"i" * 12
DTLS = b"\x16\xfe\xfd" + b"d" * 40
SLACK_NS = 1_000_000


class Line:
    """A loop, a port of it, one call on it, and what the two were told."""

    def __init__(self, loop, port, call, posted, datagrams):
        self.loop, self.port, self.call, self.posted, self.datagrams = loop, port, call, posted, datagrams


def on_line(talk, host="127.0.0.1", **said):
    """Run `talk(line, peer)` with a call to a plain peer."""

    async def main():
        posted, datagrams = [], []
        with PlainPeer(host) as peer:
            async with running_loop() as loop:
                port = loop.open_port(host, lambda *what: datagrams.append(what))
                call = loop.add_call(port, spec(peer.address, post=posted, **said))
                await until(lambda: call.stats().packets_sent, "the first packet")
                line = Line(loop, port, call, posted, datagrams)
                result = await talk(line, peer)
                await call.close()
                return result

    return asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_no_media_goes_up_with_its_sender_and_the_kernels_time(host):
    async def talk(line, peer):
        before = time.monotonic_ns()
        for data in (STUN, DTLS, b"", b"\x00", b"\xff" * 1500):
            peer.send(data, line.port)
        after = time.monotonic_ns()
        await until(lambda: len(line.datagrams) == 5)
        assert [data for data, _, _ in line.datagrams] == [STUN, DTLS, b"", b"\x00", b"\xff" * 1500]
        assert {address for _, address, _ in line.datagrams} == {peer.address}
        for _, _, at_ns in line.datagrams:
            assert before - SLACK_NS < at_ns < after + SLACK_NS
        assert line.call.stats().packets_discarded == 0

    on_line(talk, host)


def test_an_answer_to_a_datagram_goes_back_from_the_same_port():
    async def talk(line, peer):
        peer.send(STUN, line.port)
        await until(lambda: line.datagrams)
        line.port.send(b"\x01\x01answer", line.datagrams[0][1])
        await until(lambda: (b"\x01\x01answer", line.port.address) in peer.read())

    on_line(talk)


MALFORMED = [
    b"\x80",
    b"\x80\x00",
    b"\x80\x00" + b"\0" * 5,
    b"\x80\x00" + b"\0" * 9,
    b"\x80\x00" + b"\0" * 6,
    b"\x90" + b"\0" * 11,
    b"\x90" + b"\0" * 11 + b"\xbe\xde\xff\xff",
    b"\xa0" + b"\0" * 11,
    b"\xa0" + b"\0" * 11 + b"\x09",
    b"\x8f" + b"\0" * 11,
    b"\x80\xc8\x00\x06" + b"\0" * 8,
    b"\x81\xc9\x00\x01" + b"\0" * 4,
    b"\x82\xcb\x00\x01" + b"\0" * 4,
    b"\x80\xc8\x00",
]


def test_malformed_packets_are_counted_and_change_nothing():
    async def talk(line, peer):
        for packet in MALFORMED:
            peer.send(packet, line.port)
        peer.send(rtp_packet(7), line.port)
        await until(lambda: line.call.stats().packets_received)
        told = line.call.stats()
        assert (told.packets_received, told.packets_lost) == (1, 0)
        assert told.packets_discarded == len(MALFORMED)
        assert line.datagrams == line.posted == []

    on_line(talk)


def test_loss_duplicates_and_foreign_payload_types_are_told_apart():
    async def talk(line, peer):
        for sequence in (65_534, 65_535, 0, 0, 3, 2):
            peer.send(rtp_packet(sequence), line.port)
        # Of another payload type: neither media of this call nor a flaw.
        peer.send(rtp_packet(1, payload_type=96), line.port)
        # Comfort noise belongs to the stream (RFC 3389).
        peer.send(rtp_packet(4, b"\x40", payload_type=13), line.port)
        await until(lambda: line.call.stats().packets_received == 6)
        told = line.call.stats()
        assert (told.packets_lost, told.packets_discarded, told.socket_drops) == (1, 1, 0)
        assert told.jitter_ms is not None

    on_line(talk)


def test_the_payload_is_what_lies_between_csrcs_extension_and_padding():
    recorder = Recorder(time.monotonic_ns(), PCMU)
    payload = bytes(range(160))

    async def talk(line, peer):
        fixed = rtp.pack_header(0, False, 0, 0, 0xBBBB)[1:]
        extension = b"\xbe\xde\x00\x01" + b"abcd"
        peer.send(b"\xb2" + fixed + b"c" * 8 + extension + payload + b"\0\0\3", line.port)
        await until(lambda: line.call.stats().packets_received)
        await line.call.close()

    on_line(talk, recorder=recorder)
    (run,) = recorder._runs
    assert run.packets == [(0, payload)]


def test_speech_is_heard_at_its_packets_arrival_and_its_end_too():
    clip = encode_clip("a", voiced(400, 8000), 0, 400, PCMU)

    async def talk(line, peer):
        sent = []
        for sequence, payload in enumerate([PCMU.silence] * 20 + list(clip.payloads) + [PCMU.silence] * 30):
            before = time.monotonic_ns()
            peer.send(rtp_packet(sequence, payload), line.port)
            sent.append((before, time.monotonic_ns()))
            await asyncio.sleep(0.01)
        await until(lambda: any(isinstance(event, AgentStopped) for event in line.posted))
        onset, stopped = line.posted
        assert isinstance(onset, AgentOnset)
        first = [i for i, (before, after) in enumerate(sent) if before - SLACK_NS <= onset.at_ns <= after + SLACK_NS]
        assert 20 in first or 21 in first
        last = 20 + len(clip.payloads) - 1
        assert sent[last - 2][0] - SLACK_NS <= stopped.at_ns <= sent[last + 1][1] + SLACK_NS
        assert onset.decided_at_ns > onset.at_ns

    on_line(talk, quiet_ms=2000)


def test_a_goodbye_is_told_with_its_arrival():
    async def talk(line, peer):
        before = time.monotonic_ns()
        peer.send(rtcp.pack_bye(0xBBBB), line.port)
        after = time.monotonic_ns()
        await until(lambda: line.posted)
        (event,) = line.posted
        assert isinstance(event, RemoteBye)
        assert before - SLACK_NS < event.at_ns < after + SLACK_NS

    on_line(talk)


def test_silence_on_the_line_is_told_once_and_any_datagram_breaks_it():
    async def talk(line, peer):
        peer.send(STUN, line.port)
        await until(lambda: line.datagrams)
        await until(lambda: line.posted)
        await asyncio.sleep(0.3)
        (event,) = line.posted
        assert event == MediaLost(line.datagrams[-1][2])

    on_line(talk, media_timeout_ms=1500)


def test_a_report_of_the_peer_tells_the_round_trip():
    async def talk(line, peer):
        # Until the peer has heard, answered and been heard: as a peer would, it quotes our report and how long ago.
        await until(peer.reports)
        heard_at = time.monotonic()
        middle = rtcp.parse(peer.reports()[-1])[0].ntp_middle
        await asyncio.sleep(0.05)
        delay = round((time.monotonic() - heard_at) * 65_536)
        block = rtcp.ReportBlock(0xAAAA, 0, 0, 0, 0, middle, delay)
        peer.send(rtcp.pack_sender_report(0xBBBB, time.time_ns(), 0, 0, 0, [block], "peer"), line.port)
        await until(lambda: line.call.stats().round_trip_ms is not None)
        # What this machine took to wake both ends, and not the 50 ms that the peer says it waited.
        assert 0 < line.call.stats().round_trip_ms < 5000

    on_line(talk)


def test_random_datagrams_of_a_known_sender_hurt_nobody():
    rng = random.Random(11)

    async def talk(line, peer):
        for round_ in range(8):
            for _ in range(60):
                data = bytes([rng.choice([0x80, 0x90, 0xA0, 0xB3, rng.randrange(256)])]) + rng.randbytes(
                    rng.randrange(60)
                )
                peer.send(data, line.port)
            peer.send(rtp_packet(1000 + round_, ssrc=7), line.port)
            await asyncio.sleep(0.02)
        peer.send(STUN, line.port)
        await until(lambda: any(data == STUN for data, _, _ in line.datagrams))
        assert line.loop.failure is None
        sent = line.call.stats().packets_sent
        await until(lambda: line.call.stats().packets_sent > sent)

    on_line(talk)
