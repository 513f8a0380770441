"""RTP and RTCP of the agent's own lines, without a socket."""

import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpSdesPacket, RtcpSrPacket, RtpPacket

from harness.protocols import dtmf
from target_stack.edge.rtp import packet as rtp
from target_stack.edge.rtp import rtcp
from target_stack.edge.rtp.digits import Digit, DigitEar
from target_stack.edge.rtp.ports import open_pair

pytestmark = pytest.mark.unit

PACKET = rtp.Packet(8, True, 65_535, 4_000_000_000, 0xDEADBEEF, b"speech")
SECOND_NS = 1_000_000_000


def test_packets_are_written_as_others_read_them():
    read = RtpPacket.parse(rtp.build(PACKET))
    assert (read.payload_type, read.marker, read.sequence_number) == (8, 1, 65_535)
    assert (read.timestamp, read.ssrc, read.payload) == (4_000_000_000, 0xDEADBEEF, b"speech")
    assert rtp.parse(rtp.build(PACKET)) == PACKET


def test_sources_extension_and_padding_are_no_audio():
    plain = rtp.build(PACKET)
    dressed = bytes([0x80 | 0x10 | 0x20 | 2]) + plain[1:12] + bytes(8) + b"\xbe\xde\x00\x01abcd" + b"speech" + b"\0\0\3"
    assert rtp.parse(dressed) == PACKET


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        rtp.build(PACKET)[:11],
        b"\x40" + rtp.build(PACKET)[1:],
        b"\x8f" + rtp.build(PACKET)[1:],
        b"\x90" + rtp.build(PACKET)[1:12] + b"\0\0\xff\xff",
        b"\xa0" + rtp.build(PACKET)[1:-1] + b"\xff",
    ],
    ids=["nothing", "an octet", "short", "version 1", "15 sources", "long extension", "long padding"],
)
def test_what_is_no_rtp_is_none(data):
    assert rtp.parse(data) is None


def heard(sequences, ssrc=7):
    reception = rtcp.Reception(ssrc, 8000)
    for sequence in sequences:
        reception.take(sequence & 0xFFFF, sequence * 160, sequence * SECOND_NS // 50)
    return reception


def test_reports_say_what_was_sent_and_what_was_lost():
    reception = heard([65_530, 65_531, 65_534, 65_535, 65_536, 65_538])
    reception.last_sr, reception.last_sr_at_ns = 0x12345678, 3 * SECOND_NS
    data = rtcp.goodbye(rtcp.Sent(1, 160, 50, 8000), reception, "agent", 1_700_000_000.5, 5 * SECOND_NS)
    report, cname, bye = RtcpPacket.parse(data)
    assert isinstance(report, RtcpSrPacket)
    assert (report.ssrc, report.sender_info.rtp_timestamp, report.sender_info.packet_count) == (1, 160, 50)
    assert report.sender_info.ntp_timestamp == (1_700_000_000 + 2_208_988_800 << 32) + (1 << 31)
    (block,) = report.reports
    assert (block.ssrc, block.packets_lost, block.highest_sequence, block.jitter) == (7, 3, 65_538, 0)
    assert block.fraction_lost == 3 * 256 // 9
    assert (block.lsr, block.dlsr) == (0x12345678, 2 * 65_536)
    assert isinstance(cname, RtcpSdesPacket)
    assert cname.chunks[0].items == [(1, b"agent")]
    assert isinstance(bye, RtcpByePacket)
    assert rtcp.parse(data) == rtcp.Told(1, (1_700_000_000 + 2_208_988_800 & 0xFFFF) << 16 | 0x8000, is_bye=True)


def test_the_share_lost_is_of_the_time_since_the_last_report():
    reception = heard([1, 3])
    first = RtcpPacket.parse(rtcp.report(rtcp.Sent(1, 0, 0, 0), reception, "c", 0.0, 0))[0].reports[0]
    reception.take(4, 4 * 160, 4 * SECOND_NS // 50)
    second = RtcpPacket.parse(rtcp.report(rtcp.Sent(1, 0, 0, 0), reception, "c", 0.0, 0))[0].reports[0]
    assert (first.fraction_lost, second.fraction_lost) == (256 // 3, 0)
    assert (first.packets_lost, second.packets_lost) == (1, 1)


def test_a_report_before_anything_was_heard_has_no_block():
    assert RtcpPacket.parse(rtcp.report(rtcp.Sent(1, 0, 0, 0), None, "c", 0.0, 0))[0].reports == []


@pytest.mark.parametrize("data", [b"", b"\x80\xc8\x00\x06" + bytes(8), b"\x80\xc8\xff\xff" + bytes(24), b"\x40" * 28])
def test_what_is_no_rtcp_is_none(data):
    assert rtcp.parse(data) is None


def test_jitter_is_that_of_the_rfc():
    reception = rtcp.Reception(7, 8000)
    for index, delay_ms in enumerate([0, 8, 0, 8]):
        reception.take(index, index * 160, (index * 20 + delay_ms) * 1_000_000)
    # Each step differs by 64 ticks: 4, then 4 + 60/16, ...
    assert reception.jitter == pytest.approx(64 * (1 - (15 / 16) ** 3))


def press(code, timestamp, ends=3, ticks=800):
    steps = [dtmf.EventPacket(code, 160 * i) for i in range(1, ticks // 160)]
    steps += [dtmf.EventPacket(code, ticks, is_end=True)] * ends
    return [(timestamp, dtmf.pack(event)) for event in steps]


def digits_of(packets):
    ear = DigitEar(8000)
    return [digit for packet in packets if (digit := ear.take(*packet)) is not None]


def test_a_key_is_told_once_however_often_its_end_comes():
    assert digits_of(press(5, 1000)) == [Digit("5", 100.0)]
    assert digits_of(press(10, 1000)[:-2]) == [Digit("*", 100.0)]
    assert digits_of(press(11, 1000)[-1:]) == [Digit("#", 100.0)]


def test_a_key_whose_end_was_lost_is_told_with_the_next_one():
    lost = press(1, 2**32 - 400, ends=0)
    assert digits_of([*lost, *press(1, 600)]) == [Digit("1", 80.0), Digit("1", 100.0)]


def test_late_packets_of_an_earlier_key_and_other_events_are_passed_over():
    first, second = press(1, 1000), press(2, 3000)
    assert [d.digit for d in digits_of([*first[:-1], *second, first[-1]])] == ["1", "2"]
    flash = (9000, dtmf.pack(dtmf.EventPacket(16, 800, is_end=True)))
    assert digits_of([flash, (9000, b""), (9000, b"\x01")]) == []


def test_ports_come_in_pairs():
    pairs = [open_pair("127.0.0.1") for _ in range(8)]
    numbers = [tuple(sock.getsockname()[1] for sock in pair) for pair in pairs]
    for pair in pairs:
        for sock in pair:
            sock.close()
    assert all(low % 2 == 0 and high == low + 1 for low, high in numbers)
    low = numbers[0][0]
    (first, second) = open_pair("127.0.0.1", (low, low + 1))
    try:
        with pytest.raises(OSError, match=f"no free pair of UDP ports on 127.0.0.1, ports {low} to {low + 1}"):
            open_pair("127.0.0.1", (low, low + 1))
    finally:
        first.close()
        second.close()
