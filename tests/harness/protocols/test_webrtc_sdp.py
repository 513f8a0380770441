"""Offers and answers of a WebRTC call: read from foreign stacks, read by one, and refused with the reason."""

import pytest
from aiortc.sdp import SessionDescription

from harness.model.errors import RemoteProtocolError
from harness.protocols import webrtc_sdp
from harness.protocols.webrtc_sdp import Candidate, OurAudio, RtpMap, Transport

pytestmark = pytest.mark.unit

OPUS = RtpMap(111, "opus", 48000, 2)
LOCAL = Transport(
    "abcd1234", "p" * 32, (("sha-256", ":".join(["AB"] * 32)),), "actpass", (Candidate("127.0.0.1", 5000, 2130706431),)
)
AUDIO = OurAudio((OPUS,), 1234, "cname")

# Pion 3.1 answering audio and a data channel; transport attributes on session level, as it writes them.
PION = """v=0
o=- 5228595038118931041 1731234567 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D:98:14:8D:1A:BB:EA:33:0C:A4:60:A8:8E
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=setup:active
a=mid:0
a=ice-ufrag:KvXqNJrXzYDCXpDt
a=ice-pwd:wlOOvyLPHBXEIXQUkNSBQhvKDhvUGgAG
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=ssrc:3270583301 cname:b
a=ssrc:3270583301 msid:b a
a=sendrecv
a=candidate:233762139 1 udp 2130706431 127.0.0.1 41234 typ host
a=candidate:233762139 2 udp 2130706431 127.0.0.1 41234 typ host
a=candidate:2 1 tcp 1671430143 127.0.0.1 9 typ host tcptype active
a=candidate:3 1 udp 2130706431 6a2f0c4e-1.local 41235 typ host
a=end-of-candidates
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=setup:active
a=mid:1
a=sendrecv
a=sctp-port:5001
a=ice-ufrag:KvXqNJrXzYDCXpDt
a=ice-pwd:wlOOvyLPHBXEIXQUkNSBQhvKDhvUGgAG
"""


def test_an_answer_s_audio_transport_and_data_channel_are_read():
    answer = webrtc_sdp.parse(PION)
    audio = answer.audio
    assert (audio.mid, audio.direction, audio.rtpmaps, audio.ssrc) == ("0", "sendrecv", (OPUS,), 3270583301)
    assert audio.transport is not None
    assert (audio.transport.ufrag, audio.transport.setup, audio.transport.is_lite) == (
        "KvXqNJrXzYDCXpDt",
        "active",
        False,
    )
    assert audio.transport.fingerprints[0][0] == "sha-256"
    assert [(c.transport, c.component, c.host) for c in audio.transport.candidates] == [
        ("udp", 1, "127.0.0.1"), ("udp", 2, "127.0.0.1"), ("tcp", 1, "127.0.0.1"), ("udp", 1, "6a2f0c4e-1.local"),
    ]  # fmt: skip
    assert answer.data is not None
    assert answer.data.sctp_port == 5001


def test_a_data_channel_on_a_transport_of_its_own_is_not_taken():
    assert webrtc_sdp.parse(PION.replace("BUNDLE 0 1", "BUNDLE 0")).data is None


@pytest.mark.parametrize("with_data", [False, True])
def test_aiortc_reads_our_offer(with_data):
    theirs = SessionDescription.parse(webrtc_sdp.build_offer(1, AUDIO, LOCAL, with_data=with_data))
    assert [m.kind for m in theirs.media] == ["audio", "application"][: 1 + with_data]
    audio = theirs.media[0]
    assert [(c.mimeType, c.payloadType, c.channels) for c in audio.rtp.codecs] == [("audio/opus", 111, 2)]
    assert [s.ssrc for s in audio.ssrc] == [1234]
    assert (audio.ice.usernameFragment, audio.dtls.role, audio.rtcp_mux) == ("abcd1234", "auto", True)
    assert [(c.ip, c.port, c.type) for c in audio.ice_candidates] == [("127.0.0.1", 5000, "host")]
    assert theirs.group[0].items == ["0", "1"][: 1 + with_data]


def test_an_answer_takes_audio_and_data_and_refuses_the_rest():
    offer = webrtc_sdp.build_offer(1, AUDIO, LOCAL, with_data=True)
    video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n"
    parsed = webrtc_sdp.parse(offer + video)
    answer = SessionDescription.parse(webrtc_sdp.build_answer(2, parsed, AUDIO, LOCAL))
    assert [(m.kind, m.port != 0, m.rtp.muxId) for m in answer.media] == [
        ("audio", True, "0"), ("application", True, "1"), ("video", False, "2"),
    ]  # fmt: skip
    assert answer.group[0].items == ["0", "1"]


def test_a_receive_only_caller_is_sent_to():
    offer = webrtc_sdp.build_offer(1, AUDIO, LOCAL, with_data=False).replace("a=sendrecv", "a=recvonly")
    answer = webrtc_sdp.parse(webrtc_sdp.build_answer(2, webrtc_sdp.parse(offer), AUDIO, LOCAL))
    assert answer.audio.direction == "sendonly"


def test_static_payload_types_need_no_rtpmap():
    text = webrtc_sdp.build_offer(1, AUDIO, LOCAL, with_data=False)
    text = text.replace("SAVPF 111", "SAVPF 8 111").replace("a=rtpmap:111 opus/48000/2\r\n", "")
    assert [m.encoding for m in webrtc_sdp.parse(text).audio.rtpmaps] == ["PCMA/8000"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=0\r\n", "no m=audio"),
        ("v=0\r\nm=audio x\r\n", "'m=audio x' cannot be read"),
        (PION.replace("m=audio 9", "m=audio 0"), "refuses audio"),
        (PION.replace("a=fingerprint", "a=finger"), "no a=ice-ufrag, a=ice-pwd or a=fingerprint"),
        (PION.replace("a=ice-pwd", "a=ice-word"), "no a=ice-ufrag, a=ice-pwd or a=fingerprint"),
        (PION.replace("opus/48000/2", "opus"), "'a=rtpmap:111 opus' cannot be read"),
        (PION.replace("41234 typ host", "x typ host"), "a=candidate:233762139 1 udp 2130706431 127.0.0.1 x typ host"),
        (PION.replace("127.0.0.1 41234", "localhost 41234"), "'localhost' does not appear to be"),
        ("v=0\r\n" + "a=x\r\n" * 3000, "more than 2000"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text, said):
    with pytest.raises(RemoteProtocolError) as refused:
        _ = webrtc_sdp.parse(text).audio
    assert said in str(refused.value)
