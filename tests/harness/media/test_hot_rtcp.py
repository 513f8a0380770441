"""The loop's RTCP against the plain reference, both ways."""

import random

import numpy as np
import pytest
import reference_rtcp as rtcp
from hot_bench import SSRC, START_NS, HotBench

from harness.media.hot.layout import OFFSET_NS, Event
from harness.media.hot.reception import count_packet
from harness.media.hot.rtcp import send_bye, send_report, take_report
from harness.model.errors import RemoteProtocolError

pytestmark = pytest.mark.unit

UNIX_NS = 1_700_000_000_123_456_789
NS_PER_MS = 1_000_000


@pytest.fixture
def bench():
    return with_clock(HotBench())


def with_clock(bench):
    """Let the wall clock stand at UNIX_NS when the bench begins."""
    bench.media.cells[OFFSET_NS] = UNIX_NS - START_NS
    return bench


def report(bench, now_ns=START_NS):
    send_report(bench.media, 0, now_ns, now_ns)
    return bench.take()


def take(bench, packet, at_ns=START_NS):
    data = np.frombuffer(packet + b"\xa5" * 4, np.uint8).copy()
    return bool(take_report(bench.media, 0, data, len(packet), at_ns))


def hear(bench, sequences):
    for sequence in sequences:
        count_packet(
            bench.media.receptions[0], 0xBBBB, sequence, 160 * sequence, START_NS + 20 * NS_PER_MS * sequence, 8000
        )


@pytest.mark.parametrize("cname", ["", "c", "ab", "abc", "abcd", "x" * 64])
def test_a_report_before_anything_is_heard_is_the_references(cname):
    bench = with_clock(HotBench(cname=cname))
    bench.row.packets_sent, bench.row.octets_sent, bench.row.timestamp = 2**32 + 17, 170, 4800
    assert report(bench) == rtcp.pack_sender_report(SSRC, UNIX_NS, 4800, 17, 170, [], cname)


def test_a_report_quotes_the_peer_as_the_reference_does(bench):
    hear(bench, [65_534, 65_535, 65_536 & 0xFFFF, 2, 3])
    middle = rtcp.ntp_middle(rtcp.ntp_time(UNIX_NS))
    assert take(bench, rtcp.pack_sender_report(0xBBBB, UNIX_NS, 0, 0, 0, [], "peer"), START_NS - 250 * NS_PER_MS)
    (told,) = [r for r in rtcp.parse(report(bench)) if isinstance(r, rtcp.Report)]
    jitter = int(bench.media.receptions[0].jitter)
    # One of six lost; one cycle of the sequence number.
    block = rtcp.ReportBlock(0xBBBB, 256 // 6, 1, 65_536 + 3, jitter, middle, 65_536 // 4)
    assert told == rtcp.Report(SSRC, middle, (block,))
    # The fraction is that since the last report, the sum goes on.
    hear(bench, [4, 5])
    (again,) = rtcp.parse(report(bench))[0].blocks
    assert (again.fraction_lost, again.packets_lost, again.highest_sequence) == (0, 1, 65_536 + 5)


def test_a_goodbye_is_the_references(bench):
    send_bye(bench.media, 0, START_NS)
    assert bench.take() == rtcp.pack_bye(SSRC)


@pytest.mark.parametrize(("round_trip_ms", "told_ms"), [(30, 30), (0.01, 0), (1500, 1500), (-0.01, 0)])
def test_round_trip_is_now_minus_report_minus_its_delay(bench, round_trip_ms, told_ms):
    at_ns = START_NS + round((500 + round_trip_ms) * NS_PER_MS)
    last_sr = rtcp.ntp_middle(rtcp.ntp_time(UNIX_NS))
    blocks = [rtcp.ReportBlock(7, 0, 0, 0, 0, 1, 1), rtcp.ReportBlock(SSRC, 0, 0, 0, 0, last_sr, 65_536 // 2)]
    assert bench.call.stats().round_trip_ms is None
    assert take(bench, rtcp.pack_sender_report(0xBBBB, UNIX_NS, 0, 0, 0, blocks, "peer"), at_ns)
    assert bench.call.stats().round_trip_ms == pytest.approx(told_ms, abs=0.05)
    expected = rtcp.round_trip_ms(blocks[1], UNIX_NS + at_ns - START_NS)
    assert bench.call.stats().round_trip_ms == pytest.approx(expected, abs=0.001)


def test_a_block_that_quotes_no_report_of_ours_tells_no_round_trip(bench):
    block = rtcp.ReportBlock(SSRC, 0, 0, 0, 0, 0, 0)
    assert take(bench, rtcp.pack_sender_report(0xBBBB, UNIX_NS, 0, 0, 0, [block], "peer"))
    assert bench.call.stats().round_trip_ms is None


def test_a_goodbye_of_the_agent_is_told_with_its_time(bench):
    assert take(bench, rtcp.pack_bye(0xBBBB), START_NS + 7)
    assert bench.told() == [(Event.REMOTE_BYE, START_NS + 7, 0)]


@pytest.mark.parametrize(
    "flawed",
    [
        b"\x80\xc8\x00",
        b"\x40\xcb\x00\x00",
        b"\x80\xc8\x00\x06" + b"\0" * 8,
        b"\x80\xc8\x00\x01" + b"\0" * 4,
        b"\x81\xc9\x00\x01" + b"\0" * 4,
        b"\x82\xcb\x00\x01" + b"\0" * 4,
    ],
)
def test_a_compound_packet_with_a_flaw_changes_nothing_at_all(bench, flawed):
    before = bench.row.remote_sr
    sound = rtcp.pack_sender_report(0xBBBB, UNIX_NS, 0, 0, 0, [], "peer") + rtcp.pack_bye(0xBBBB)
    assert not take(bench, sound + flawed)
    assert not take(bench, flawed)
    assert bench.row.remote_sr == before
    assert bench.told() == []
    assert take(bench, sound)
    assert bench.row.remote_sr != before


def test_random_bytes_are_taken_exactly_when_the_reference_takes_them(bench):
    rng = random.Random(3)
    taken = 0
    for _ in range(3000):
        packet = b""
        for _ in range(rng.choice([1, 1, 2])):
            body = rng.randbytes(4 * rng.randrange(16))
            words = len(body) // 4 + rng.choice([0, 0, 0, 1])
            kind = rng.choice([200, 201, 202, 203, 205])
            packet += bytes([0x80 | rng.choice([0, 1, 2, 31]), kind]) + words.to_bytes(2, "big") + body
        packet = packet[: len(packet) - rng.choice([0, 0, 0, 1])]
        try:
            expected = rtcp.parse(packet)
        except RemoteProtocolError:
            expected = None
        assert take(bench, packet) == (expected is not None)
        byes = sum(isinstance(told, rtcp.Bye) for told in expected or [])
        assert len(bench.told()) == byes
        taken += expected is not None
    assert 300 < taken < 2700
