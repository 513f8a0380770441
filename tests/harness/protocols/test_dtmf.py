"""Telephone events: digits by code and four octets, as RFC 4733 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import dtmf
from harness.protocols.dtmf import EventPacket

pytestmark = pytest.mark.unit


def test_digits_have_the_codes_of_the_table():
    assert dtmf.codes("09*#Ad") == [0, 9, 10, 11, 12, 15]


@pytest.mark.parametrize("digits", ["", "1-2", "E", "٣"])
def test_what_is_no_digit_is_named_with_the_legal_ones(digits):
    with pytest.raises(LocalProtocolError, match=r"legal: one or more of 0123456789\*#ABCD"):
        dtmf.codes(digits)


def test_rfc_4733_s_example_of_digits_is_read():
    """RFC 4733 5.1, figure 5: digit 1, end, volume 20, duration 1400."""
    event = dtmf.unpack(bytes.fromhex("01940578"))
    assert event == EventPacket(code=1, duration=1400, is_end=True, volume=20)
    assert (event.digit, EventPacket(16, 0).digit) == ("1", None)


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.booleans(), st.integers(0, 63), st.binary(max_size=4))
def test_what_is_packed_is_read_back_whatever_follows(code, duration, is_end, volume, rest):
    event = EventPacket(code, duration, is_end, volume)
    assert dtmf.unpack(dtmf.pack(event) + rest) == event


def test_a_short_payload_is_refused():
    with pytest.raises(RemoteProtocolError, match="3 bytes; legal: at least 4"):
        dtmf.unpack(b"\1\2\3")
