"""Calls whose media goes through a channel of a TURN server (RFC 8656 12.4), and through a bridge that stamps it."""

import asyncio
import contextlib
import struct
import time
from types import SimpleNamespace

import pytest
import reference_rtcp as rtcp
import reference_rtp as rtp
from loop_lab import PlainPeer, is_report, rtp_packet, running_loop, spec, until

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.impairment import Impairment
from harness.media.onset import AgentOnset

pytestmark = pytest.mark.loopback

CHANNEL = 0x4007
DTLS = b"\x16\xfe\xfd" + b"d" * 40
TICK_NS = 20_000_000


def wrapped(data, channel=CHANNEL):
    return struct.pack("!HH", channel, len(data)) + data


def stamped(data, at_ns, channel=CHANNEL + 0x1000):
    return struct.pack("!HHq", channel, len(data), at_ns) + data


def unwrapped(frame):
    channel, length = struct.unpack_from("!HH", frame)
    assert (channel, length) == (CHANNEL, len(frame) - 4)
    return frame[4:]


@contextlib.asynccontextmanager
async def relayed(**said):
    """Yield a call through a plain socket that stands for the server."""
    posted, datagrams = [], []
    with PlainPeer() as server:
        async with running_loop() as loop:
            port = loop.open_port("127.0.0.1", lambda *what: datagrams.append(what))
            call = loop.add_call(port, spec(server.address, post=posted, **{"channel": CHANNEL, **said}))
            await until(lambda: call.stats().packets_sent, "the first packet")
            yield SimpleNamespace(call=call, port=port, server=server, posted=posted, datagrams=datagrams)
            await call.close()


def test_all_that_leaves_goes_through_the_channel():
    async def main():
        async with relayed() as line:
            server = line.server
            await until(lambda: len(server.read()) > 20)
            await line.call.close()
            await until(lambda: any(is_report(f[4:]) and rtcp.pack_bye(0xAAAA)[:2] in f for f, _ in server.read()))
            plain = [unwrapped(frame) for frame, _ in server.came]
            media = [rtp.parse_header(data) for data in plain if not is_report(data)]
            assert [header.sequence_number for header in media] == list(range(len(media)))
            assert {data[12:] for data in plain if not is_report(data)} == {PCMU.silence}
            assert any(is_report(data) for data in plain)

    asyncio.run(main())


@pytest.mark.parametrize("delay_ms", [0, 30])
def test_a_bad_network_s_copies_go_through_the_channel_too(delay_ms):
    async def main():
        network = Impairment(duplicate_ratio=1.0, delay_ms=delay_ms)
        async with relayed(impair_outgoing=network) as line:
            await until(lambda: len(line.server.read()) > 30)
            await line.call.close()
        plain = [unwrapped(frame) for frame, _ in line.server.came]
        media = [data for data in plain if not is_report(data)]
        numbers = [rtp.parse_header(data).sequence_number for data in media]
        twice = sorted(set(numbers))[:10]
        assert all(numbers.count(n) == 2 for n in twice)
        assert {data[12:] for data in media} == {PCMU.silence}

    asyncio.run(main())


@pytest.mark.parametrize("padding", [b"", b"\0\0\0"])
def test_media_is_heard_through_the_channel(padding):
    async def main():
        async with relayed() as line:
            for n in range(10):
                line.server.send(wrapped(rtp_packet(n)) + padding, line.port)
            line.server.send(wrapped(rtcp.pack_bye(0xBBBB)), line.port)
            await until(lambda: line.posted)
            assert line.call.stats().packets_received == 10
            assert line.call.stats().packets_discarded == 0
            assert not line.datagrams

    asyncio.run(main())


OTHERS = [
    wrapped(DTLS),
    wrapped(rtp_packet(0), CHANNEL + 1),
    wrapped(rtp_packet(0))[:-1],
    wrapped(b""),
    wrapped(b"")[:3],
    wrapped(b"\x80")[:4],
    # Only a bridge of ours may say when something came.
    stamped(rtp_packet(0), 1),
    b"\x01\x01\x00\x00\x21\x12\xa4\x42" + b"i" * 12,
]


def test_handshakes_and_the_server_s_own_messages_go_up_as_they_are():
    async def main():
        async with relayed() as line:
            for data in OTHERS:
                line.server.send(data, line.port)
            await until(lambda: len(line.datagrams) == len(OTHERS))
            assert [data for data, _, _ in line.datagrams] == OTHERS
            assert {source for _, source, _ in line.datagrams} == {line.server.address}
            stats = line.call.stats()
            assert (stats.packets_received, stats.packets_discarded) == (0, 0)

    asyncio.run(main())


def test_what_a_bridge_hands_over_came_when_it_says():
    clip = encode_clip("voice", voiced(400, 8000), 0, 400, PCMU)
    payloads = [PCMU.silence] * 20 + list(clip.payloads)

    async def main():
        async with relayed(is_bridged=True) as line:
            begun_ns = time.monotonic_ns() - 2_000_000_000
            line.server.send(wrapped(rtp_packet(0)), line.port)
            for n, payload in enumerate(payloads):
                line.server.send(stamped(rtp_packet(n, payload), begun_ns + n * TICK_NS), line.port)
            await until(lambda: any(isinstance(event, AgentOnset) for event in line.posted))
            onset = next(event for event in line.posted if isinstance(event, AgentOnset))
            assert onset.at_ns in (begun_ns + 20 * TICK_NS, begun_ns + 21 * TICK_NS)
            await until(lambda: line.call.stats().packets_received == len(payloads))
            # Without a time it is no bridge's.
            assert [data for data, _, _ in line.datagrams] == [wrapped(rtp_packet(0))]
            assert all(unwrapped(frame) for frame, _ in line.server.read())

    asyncio.run(main())
