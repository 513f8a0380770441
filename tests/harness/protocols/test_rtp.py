import pytest

from harness.protocols import rtp

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("newer", "older", "delta"),
    [(5, 3, 2), (3, 5, -2), (1, 65535, 2), (65535, 1, -2), (0x8000, 0, -0x8000), (0x7FFF, 0, 0x7FFF), (9, 9, 0)],
)
def test_sequence_delta_is_the_short_way_round(newer, older, delta):
    assert rtp.sequence_delta(newer, older) == delta


@pytest.mark.parametrize(
    ("newer", "older", "delta"),
    [
        (960, 0, 960),
        (960, 2**32 - 960, 1920),
        (2**32 - 960, 960, -1920),
        (2**31, 0, -(2**31)),
        (2**31 - 1, 0, 2**31 - 1),
    ],
)
def test_timestamp_delta_is_the_short_way_round(newer, older, delta):
    assert rtp.timestamp_delta(newer, older) == delta
