"""Hostile RTP, RTCP and SRTP into a running media loop: it counts them, and goes on."""

import pytest
from fuzz_media_loop import CODECS, feed_media_loop

pytestmark = pytest.mark.loopback

INPUTS = 1600


def test_the_media_loop_outlives_hostile_datagrams():
    told = feed_media_loop(INPUTS, seed=20)
    assert told.inputs == INPUTS
    # Each is accounted for: heard, refused, handed up, or of no payload type of the call.
    assert told.refused > INPUTS // 4
    assert told.notes["packets received"] > len(CODECS)
    assert told.notes["handed up"] > 0
    assert told.refused + told.notes["packets received"] + told.notes["handed up"] <= INPUTS
