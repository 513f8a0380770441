"""The warm cipher against libsrtp, packet by packet: every index, order and forgery that a stream can bring."""

import numpy as np
import pytest
import reference_rtp as rtp
from pylibsrtp import Error, Policy

from harness.media.hot.gcm import FORGED, NOT_OURS, WINDOW, end_stream, gcm_open, gcm_seal, new_gcm, start_stream
from harness.media.srtp import INCOMING, OUTGOING, REPLAY_WINDOW, AeadSession, srtp_session

pytestmark = pytest.mark.unit

PROFILES = {
    "128": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "256": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
}
SSRC = 0xFEDCBA98


@pytest.fixture(params=PROFILES)
def sessions(request):
    """Return libsrtp's sessions of one key, which tell the keys too: to seal, to open."""
    profile, length = PROFILES[request.param]
    material = bytes((7 * i + 3) & 0xFF for i in range(length))
    return srtp_session(material, OUTGOING, profile), srtp_session(material, INCOMING, profile)


def packet(sequence, payload=b"payload", ssrc=SSRC):
    return rtp.pack_header(111, False, sequence & 0xFFFF, 960 * sequence & 0xFFFFFFFF, ssrc) + payload


class Stream:
    """One row of the tables, sealing or opening."""

    def __init__(self, session):
        assert isinstance(session, AeadSession)
        self.gcm = new_gcm(1)
        start_stream(self.gcm, 0, session.key, session.salt)
        assert self.gcm.streams[0].bits == 8 * len(session.key)
        self.buffer = np.zeros(2048, np.uint8)

    def _work(self, function, data, start):
        self.buffer[:] = 0xEE
        self.buffer[: len(data)] = np.frombuffer(data, np.uint8)
        length = function(self.gcm, 0, self.buffer, self.buffer.ctypes.data, start, len(data))
        return length if length < 0 else self.buffer[:length].tobytes()

    def seal(self, data):
        return self._work(gcm_seal, data, 12)

    def open(self, data, start=12):
        return self._work(gcm_open, data, start)


def test_what_is_sealed_is_what_libsrtp_seals_over_two_turns_of_the_sequence_number(sessions):
    sealing = Stream(sessions[0])
    for sequence in range(65_530, 3 * 65_536 + 5, 997):
        plain = packet(sequence)
        assert sealing.seal(plain) == sessions[0].protect(plain)
    # And every one around a turn.
    for sequence in range(4 * 65_536 - 3, 4 * 65_536 + 3):
        plain = packet(sequence)
        assert sealing.seal(plain) == sessions[0].protect(plain)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 160, 1300])
def test_payloads_of_any_length_pass_both_ways(sessions, length):
    plain = packet(5, bytes(i & 0xFF for i in range(length)))
    sealed = Stream(sessions[0]).seal(plain)
    assert sealed == sessions[0].protect(plain)
    assert Stream(sessions[1]).open(sealed) == plain


def test_contributing_sources_and_header_extensions_are_authenticated_not_encrypted(sessions):
    extended = bytearray(packet(5, b""))
    extended[0] |= 0x10 | 2
    extended += bytes(range(8)) + b"\xbe\xde\x00\x01" + b"\x10\xff\x00\x00" + b"payload"
    start = len(extended) - 7
    sealed = sessions[0].protect(bytes(extended))
    assert sealed[:start] == extended[:start]
    assert Stream(sessions[1]).open(sealed, start) == extended
    changed = bytearray(sealed)
    changed[13] ^= 1
    assert Stream(sessions[1]).open(bytes(changed), start) == FORGED


# What arrives, as packet indices in order; the libsrtp at the other end sees the same.
ARRIVALS = {
    "in order over a turn": range(65_500, 65_600),
    "reordered about the turn": [65_530, 65_537, 65_534, 65_536, 65_535, 65_538],
    "repeated": [1, 2, 2, 3, 1, 4, 3],
    "a long gap": [10, 20_000, 20_001, 50_000, 50_001],
    "as old as the list goes": [5_000, 5_000 - WINDOW + 1, 5_000 - WINDOW, 5_001],
    "old ones behind a gap of the list's length": [100, 101, 103, 103 + WINDOW, 102, 102 + WINDOW, 104 + WINDOW, 104],
    "the first is reordered": [7, 6, 5, 8],
}


@pytest.mark.parametrize("case", ARRIVALS)
def test_the_same_packets_are_taken_as_by_libsrtp(sessions, case):
    arrivals = list(ARRIVALS[case])
    sealed = {}
    for index in range(min(arrivals), max(arrivals) + 1):
        # Sealed in order; libsrtp counts the turns by itself.
        sealed[index] = sessions[0].protect(packet(index))
    opening = Stream(sessions[1])
    for index in arrivals:
        try:
            expected = sessions[1].unprotect(sealed[index])
        except Error:
            expected = FORGED
        assert opening.open(sealed[index]) == expected, index


def test_random_orders_losses_and_repeats_are_taken_as_by_libsrtp(sessions):
    random = np.random.default_rng(3)
    sealed = [sessions[0].protect(packet(index)) for index in range(64_000, 68_000)]
    places = np.arange(len(sealed)) + random.integers(0, 1500, len(sealed)) * (random.random(len(sealed)) < 0.1)
    kept = [i for i in np.argsort(places, kind="stable") if random.random() > 0.05]
    order = [i for i in kept for _ in range(random.integers(1, 3))]
    opening = Stream(sessions[1])
    taken = refused = 0
    for i in order:
        try:
            expected = sessions[1].unprotect(sealed[i])
            taken += 1
        except Error:
            expected = FORGED
            refused += 1
        assert opening.open(sealed[i]) == expected
    assert taken > 3000
    assert refused > 1000


def test_a_forgery_changes_nothing_not_even_what_number_is_highest(sessions):
    opening = Stream(sessions[1])
    first, second = (sessions[0].protect(packet(index)) for index in (3, 4))
    assert opening.open(first) == packet(3)
    for at in (1, 3, 5, 12, len(second) - 1):
        changed = bytearray(second)
        changed[at] ^= 0x40
        assert opening.open(bytes(changed)) == FORGED
    far = bytearray(second)
    far[2] = 0x70
    assert opening.open(bytes(far)) == FORGED
    # Too short for a tag, or for anything.
    assert opening.open(second[:27]) == FORGED
    assert opening.open(second[:12]) == FORGED
    assert opening.open(second) == packet(4)
    assert opening.open(second) == FORGED


def test_a_forged_first_packet_binds_the_stream_to_no_source_and_another_source_is_left_to_libsrtp(sessions):
    opening = Stream(sessions[1])
    forged = bytearray(sessions[0].protect(packet(9, ssrc=0x1234)))
    forged[-1] ^= 1
    assert opening.open(bytes(forged)) == FORGED
    assert opening.open(sessions[0].protect(packet(3))) == packet(3)
    assert opening.open(sessions[0].protect(packet(10, ssrc=0x1234))) == NOT_OURS


def test_an_ended_stream_keeps_no_key(sessions):
    stream = Stream(sessions[0])
    end_stream(stream.gcm, 0)
    assert stream.gcm.streams[0].bits == 0
    assert not stream.gcm.material.any()


def test_other_suites_are_libsrtps_alone():
    session = srtp_session(bytes(30), OUTGOING, Policy.SRTP_PROFILE_AES128_CM_SHA1_80)
    assert not isinstance(session, AeadSession)


def test_the_list_is_as_long_as_libsrtps():
    assert WINDOW == REPLAY_WINDOW
