"""Each way of making a message wrong makes it one that our own readers refuse, or that differs in nothing but that."""

import random

import pytest

from harness.callers import sabotage
from harness.callers.malformed import (
    RTP_WAYS,
    SDP_WAYS,
    SIP_WAYS,
    malformed_rtp,
    malformed_sdp,
    malformed_sip,
)
from harness.media.codecs import OPUS
from harness.media.peer.rtp_maps import chosen_codec, rtp_map
from harness.model.errors import RemoteProtocolError
from harness.protocols import audio_sdp, webrtc_sdp
from harness.protocols.webrtc_sdp import OurAudio, Transport

pytestmark = pytest.mark.unit

INVITE = (
    b"INVITE sip:agent@127.0.0.1:5060 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKabc\r\n"
    b"From: <sip:caller@127.0.0.1>;tag=1\r\nTo: <sip:agent@127.0.0.1>\r\n"
    b"Call-ID: abc@127.0.0.1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
    b"Contact: <sip:caller@127.0.0.1:5070>\r\nContent-Length: 0\r\n\r\n"
)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
)


@pytest.mark.parametrize("way", SIP_WAYS, ids=lambda way: way.__name__)
def test_no_way_leaves_a_sip_message_as_it_was(way):
    assert {way(INVITE, random.Random(seed)) for seed in range(20)}.isdisjoint({INVITE})


def test_every_way_is_drawn_and_the_same_seed_draws_the_same():
    broken = [malformed_sip(INVITE, random.Random(seed)) for seed in range(200)]
    assert INVITE not in broken
    assert broken == [malformed_sip(INVITE, random.Random(seed)) for seed in range(200)]
    assert any(b"SIP/-9" in one for one in broken)
    assert any(b"99999" in one for one in broken)
    assert any(b"Via" not in one for one in broken)
    # A message that has nothing of what a way breaks is cut.
    assert malformed_sip(b"OPTIONS sip:a SIP/2.0\r\n\r\n", random.Random(1)) != b"OPTIONS sip:a SIP/2.0\r\n\r\n"


WEB = webrtc_sdp.build_offer(
    1,
    OurAudio((rtp_map(OPUS),), 5, "c"),
    Transport("abcd", "x" * 22, (("sha-256", ":".join(["AB"] * 32)),), "actpass"),
    with_data=True,
)


@pytest.mark.parametrize("way", SDP_WAYS, ids=lambda way: way.__name__)
def test_no_reader_takes_a_description_that_was_made_wrong(way):
    assert audio_sdp.parse(SDP)
    with pytest.raises(RemoteProtocolError):
        audio_sdp.parse(way(SDP))
    assert chosen_codec(webrtc_sdp.parse(WEB).audio, [OPUS])
    with pytest.raises(RemoteProtocolError):
        chosen_codec(webrtc_sdp.parse(way(WEB)).audio, [OPUS])


def test_an_offer_is_made_wrong_where_a_plan_says_so():
    assert sabotage.offered(SDP, "malformed") == malformed_sdp(SDP) != SDP
    assert sabotage.answered(SDP, "malformed") == SDP


def test_datagrams_begin_like_rtp_and_are_of_every_kind():
    rng = random.Random(3)
    sent = [malformed_rtp(rng, 0, 0x1234) for _ in range(300)]
    assert all(128 <= one[0] <= 191 for one in sent)
    assert min(map(len, sent)) < 12
    assert len({one[0] for one in sent}) >= 4
    assert len(RTP_WAYS) == 6
