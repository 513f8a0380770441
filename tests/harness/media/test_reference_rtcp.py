import random

import pytest
import reference_rtcp as rtcp
from aiortc.rtp import RtcpPacket, RtcpSrPacket

from harness.model.errors import RemoteProtocolError

pytestmark = pytest.mark.unit

BLOCK = rtcp.ReportBlock(0xCAFE, 25, 3, 70000, 12, 0xABCD1234, 65536)


def test_sender_report_is_what_aiortc_reads():
    packet = rtcp.pack_sender_report(0xBEEF, 1_700_000_000_500_000_000, 4800, 10, 600, [BLOCK], "me")
    report = next(p for p in RtcpPacket.parse(packet) if isinstance(p, RtcpSrPacket))
    assert report.ssrc == 0xBEEF
    assert (report.sender_info.rtp_timestamp, report.sender_info.packet_count) == (4800, 10)
    assert report.sender_info.ntp_timestamp >> 32 == 1_700_000_000 + 2_208_988_800
    assert report.reports[0].packets_lost == 3
    assert report.reports[0].lsr == 0xABCD1234


def test_round_trip_through_our_parser():
    packet = rtcp.pack_sender_report(7, 1_700_000_000_000_000_000, 1, 2, 3, [BLOCK], "name") + rtcp.pack_bye(7)
    parsed = rtcp.parse(packet)
    assert isinstance(parsed[0], rtcp.Report)
    assert parsed[0].blocks == (BLOCK,)
    assert parsed[-1] == rtcp.Bye((7,))


def test_negative_cumulative_loss_survives():
    block = rtcp.ReportBlock(1, 0, -5, 0, 0, 0, 0)
    parsed = rtcp.parse(rtcp.pack_sender_report(1, 0, 0, 0, 0, [block], "x"))[0]
    assert isinstance(parsed, rtcp.Report)
    assert parsed.blocks[0].packets_lost == -5


def test_round_trip_time_is_now_minus_report_minus_its_delay():
    sent = 1_700_000_000_000_000_000
    last_sr = rtcp.ntp_middle(rtcp.ntp_time(sent))
    block = rtcp.ReportBlock(1, 0, 0, 0, 0, last_sr, 65536 // 2)
    assert rtcp.round_trip_ms(block, sent + 540_000_000) == pytest.approx(40, abs=0.05)
    assert rtcp.round_trip_ms(rtcp.ReportBlock(1, 0, 0, 0, 0, 0, 0), sent) is None
    # Rounding must not turn a loopback round trip into 18 hours.
    assert rtcp.round_trip_ms(block, sent + 499_990_000) == 0


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\x80", "truncated"),
        (b"\x40\xc8\x00\x00", "version"),
        (b"\x80\xc8\x00\x06" + b"\0" * 8, "bytes of body"),
        (b"\x80\xc8\x00\x01" + b"\0" * 4, "sender report is truncated"),
        (b"\x81\xc9\x00\x01" + b"\0" * 4, "block is truncated"),
        (b"\x82\xcb\x00\x01" + b"\0" * 4, "BYE is truncated"),
    ],
)
def test_malformed_is_refused_with_its_flaw(packet, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        rtcp.parse(packet)


def test_random_bytes_never_raise_anything_else():
    rng = random.Random(3)
    for _ in range(3000):
        data = bytes([0x80 | rng.randrange(32), rng.choice([200, 201, 202, 203, 205])]) + rng.randbytes(
            rng.randrange(0, 80)
        )
        try:
            rtcp.parse(data)
        except RemoteProtocolError:
            continue
