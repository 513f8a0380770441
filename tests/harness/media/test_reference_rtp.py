import random

import pytest
import reference_rtp as rtp

from harness.model.errors import RemoteProtocolError

pytestmark = pytest.mark.unit


def test_header_round_trip():
    packet = rtp.pack_header(111, True, 65535, 0xFFFFFFFF, 0x12345678) + b"payload"
    header = rtp.parse_header(packet)
    assert (header.payload_type, header.marker, header.sequence_number) == (111, True, 65535)
    assert (header.timestamp, header.ssrc) == (0xFFFFFFFF, 0x12345678)
    assert packet[header.payload_start : header.payload_end] == b"payload"


def test_extension_csrc_and_padding_are_taken_off():
    first = 0x80 | 0x20 | 0x10 | 0x02
    fixed = bytes([first, 96]) + (7).to_bytes(2, "big") + (8).to_bytes(4, "big") + (9).to_bytes(4, "big")
    extension = b"\xbe\xde\x00\x01" + b"abcd"
    packet = fixed + b"c" * 8 + extension + b"DATA" + b"\0\0\3"
    header = rtp.parse_header(packet)
    assert packet[header.payload_start : header.payload_end] == b"DATA"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "shorter"),
        (b"\x80" * 11, "shorter"),
        (b"\x40" + b"\0" * 11, "version 1"),
        (b"\x90" + b"\0" * 11, "truncated"),
        (b"\x90" + b"\0" * 11 + b"\xbe\xde\xff\xff", "longer"),
        (b"\xa0" + b"\0" * 11, "padding"),
        (b"\xa0" + b"\0" * 11 + b"\x09", "padding"),
        (b"\x8f" + b"\0" * 11, "longer"),
    ],
)
def test_malformed_header_is_refused_with_its_flaw(packet, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        rtp.parse_header(packet)


def test_random_bytes_never_raise_anything_else():
    rng = random.Random(7)
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(0, 60))
        try:
            header = rtp.parse_header(data)
        except RemoteProtocolError:
            continue
        assert 12 <= header.payload_start <= header.payload_end <= len(data)


def stats_of(sequences, *, step_ns=20_000_000):
    stats = rtp.ReceptionStats(48_000)
    for index, seq in enumerate(sequences):
        stats.add(rtp.RtpHeader(111, False, seq & 0xFFFF, (index * 960) & 0xFFFFFFFF, 1, 12, 12), index * step_ns)
    return stats


@pytest.mark.parametrize(
    ("sequences", "received", "lost", "discarded"),
    [
        (range(10), 10, 0, 0),
        ([0, 1, 3, 4], 4, 1, 0),
        ([0, 2, 1, 3], 4, 0, 0),
        ([0, 1, 1, 3], 3, 1, 1),
        ([65534, 65535, 0, 1], 4, 0, 0),
        ([65534, 1, 65535, 0], 4, 0, 0),
        ([5, 4, 6], 3, 0, 0),
        ([], 0, 0, 0),
    ],
)
def test_loss_counts(sequences, received, lost, discarded):
    stats = stats_of(sequences)
    assert (stats.received, stats.lost, stats.discarded) == (received, lost, discarded)


def test_a_duplicate_cannot_hide_a_loss():
    assert stats_of([0, 1, 1, 1, 4]).lost == 2


def test_restart_of_the_source_is_believed_at_its_second_packet():
    stats = stats_of([0, 1, 2, 40000, 40001, 40002])
    assert stats.lost == 0
    assert stats.received == 5
    assert stats.discarded == 1


def test_jitter_of_even_arrivals_is_zero_and_of_alternating_ones_converges_to_its_size():
    assert stats_of(range(50)).jitter_ms == 0
    stats = rtp.ReceptionStats(8000)
    for i in range(400):
        arrived = i * 20_000_000 + (5_000_000 if i % 2 else 0)
        stats.add(rtp.RtpHeader(0, False, i, i * 160, 1, 12, 12), arrived)
    assert stats.jitter_ms == pytest.approx(5.0, abs=0.3)
