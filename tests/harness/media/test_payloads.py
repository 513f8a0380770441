import pytest

from harness.media.payloads import Payloads

pytestmark = pytest.mark.unit

PACKETS = [b"one", b"", b"three", b"4"]


def test_payloads_are_what_they_were_made_of():
    payloads = Payloads(iter(PACKETS))
    assert list(payloads) == PACKETS
    assert len(payloads) == 4
    assert [payloads[at] for at in range(-4, 4)] == [*PACKETS, *PACKETS]
    assert payloads[1:3] == (b"", b"three")
    assert payloads[::-1] == tuple(reversed(PACKETS))
    assert payloads.joined == b"onethree4"
    assert payloads.lengths == [3, 0, 5, 1]


@pytest.mark.parametrize("index", [4, -5])
def test_there_is_none_beyond_the_last(index):
    with pytest.raises(IndexError):
        Payloads(PACKETS)[index]


def test_none_at_all():
    assert list(Payloads([])) == []
