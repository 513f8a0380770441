"""SDP for one audio stream: exact bytes out, anything in, and the rules of offer and answer."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import audio_sdp, sdes
from harness.protocols.audio_sdp import AudioSdp, Format
from harness.protocols.offer_answer import Answerer, agree, answer

pytestmark = pytest.mark.unit

PCMU, G722, OPUS = Format(0, "PCMU", 8000), Format(9, "G722", 8000), Format(111, "opus", 48_000, 2, "useinbandfec=0")
KEY = sdes.Crypto(1, sdes.AES_CM_80, bytes(range(30)))
OFFER = AudioSdp("127.0.0.1", 4000, (PCMU,), rtcp_mux=True, ptime_ms=20, ssrc=77, cname="c", session_id=5)
SECURE_OFFER = replace(OFFER, profile=audio_sdp.SECURE, crypto=(KEY, replace(KEY, tag=2, suite=sdes.AES_CM_32)))

# A desk phone's, with video, LF for line ends and what we do not know.
FOREIGN = """v=0
o=- 20518 0 IN IP4 203.0.113.1
s=-
t=0 0
a=tool:x
c=IN IP4 203.0.113.1
a=sendonly
m=video 5000 RTP/AVP 31
c=IN IP4 203.0.113.9
a=rtpmap:31 H261/90000
a=inactive
m=audio 49170/2 rtp/savp 18 96 0 101
c=IN IP4 192.0.2.4/127
a=rtpmap:96 Opus/48000/2
a=fmtp:96 minptime=10;useinbandfec=1
a=rtpmap:101 telephone-event/8000
a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz
a=ptime:20.0
a=maxptime:60
a=rtcp:49171
a=ssrc:314159 cname:me
a=ssrc:314159 msid:x
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
"""


def test_an_offer_to_the_byte():
    assert audio_sdp.build(replace(SECURE_OFFER, formats=(PCMU, OPUS), crypto=(KEY,))) == (
        "v=0\r\no=- 5 5 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 4000 RTP/SAVP 0 111\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:111 opus/48000/2\r\n"
        "a=fmtp:111 useinbandfec=0\r\na=ptime:20\r\n"
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n"
        "a=rtcp-mux\r\na=ssrc:77 cname:c\r\na=sendrecv\r\n"
    )


def test_a_foreign_offer_is_read():
    read = audio_sdp.parse(FOREIGN)
    assert (read.host, read.port, read.profile, read.direction) == ("192.0.2.4", 49170, "RTP/SAVP", "sendonly")
    assert [(f.payload_type, f.name) for f in read.formats] == [(96, "Opus"), (0, "PCMU"), (101, "telephone-event")]
    assert (read.formats[0].channels, read.formats[0].parameters) == (2, "minptime=10;useinbandfec=1")
    assert (read.crypto[0].tag, len(read.crypto), read.ssrc, read.cname) == (2, 1, 314159, "me")
    assert (read.ptime_ms, read.longest_packet_ms, read.rtcp_mux, read.session_id) == (20, 60, False, 20518)
    assert (read.rtcp_port, read.rtcp_host, read.session_version) == (49171, "", 0)
    assert "F8_128_HMAC_SHA1_80" in read.unusable_crypto[0]


def test_an_answer_refuses_the_other_media_in_their_places():
    ours = Answerer("192.0.2.9", 6000, (OPUS, PCMU), sdes.SUITES, lambda suite: b"k" * suite.material_bytes, ssrc=9)
    text = audio_sdp.build(answer(audio_sdp.parse(FOREIGN), ours))
    media = [line for line in text.split("\r\n") if line.startswith("m=")]
    assert media == [
        "m=video 0 RTP/AVP 31",
        "m=audio 6000 RTP/SAVP 96",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]
    assert "a=rtpmap:96 opus/48000/2" in text
    assert "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:a2tr" in text
    assert "a=recvonly" in text
    assert "a=ssrc:9 " in text
    assert "rtcp-mux" not in text


names = st.sampled_from(["PCMU", "PCMA", "G722", "opus", "L16"])
formats = st.lists(
    st.builds(Format, st.integers(0, 127), names, st.integers(1, 96_000), st.integers(1, 2)),
    min_size=1,
    max_size=5,
    unique_by=lambda f: f.payload_type,
)
descriptions = st.builds(
    AudioSdp,
    host=st.sampled_from(["127.0.0.1", "::1", "media.example"]),
    port=st.integers(1, 65_535),
    formats=formats.map(tuple),
    profile=st.sampled_from(["RTP/AVP", "RTP/SAVP", "RTP/AVPF"]),
    crypto=st.sampled_from([(), (KEY,)]),
    direction=st.sampled_from(audio_sdp.DIRECTIONS),
    ptime_ms=st.none() | st.integers(1, 200),
    rtcp_mux=st.booleans(),
    rtcp_port=st.none() | st.integers(0, 65_535),
    session_version=st.integers(0, 2**63),
    ssrc=st.none() | st.integers(0, 2**32 - 1),
    cname=st.just("call-1"),
    session_id=st.integers(0, 2**63),
)


@given(descriptions)
def test_what_is_built_is_read_back(description):
    read = audio_sdp.parse(audio_sdp.build(description))
    assert read == replace(description, cname="" if description.ssrc is None else "call-1")


@given(st.text(alphabet="vmaco=0 19.:/INPaudioRTAVcryptomap\r\n", max_size=400) | st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    for candidate in (text, f"v=0\n{text}", audio_sdp.build(OFFER) + text):
        with contextlib.suppress(RemoteProtocolError):
            audio_sdp.parse(candidate)


WRONG = {
    "empty": ("", "the line v=0 is missing"),
    "html": ("<html>no</html>", "the line v=0 is missing"),
    "not a line": ("v=0\nhello", "SDP line 2: 'hello' is not of the form letter=value"),
    "no audio": ("v=0\nm=video 1 RTP/AVP 31", "without an audio stream; its media: video"),
    "no media": ("v=0\n", "its media: none"),
    "short media line": ("v=0\nm=audio 4000", "SDP line 2: m=audio 4000 needs"),
    "port": ("v=0\nm=audio 70000 RTP/AVP 0", "m= port '70000'; legal: 0 to 65535"),
    "no address": ("v=0\nm=audio 4000 RTP/AVP 0", "neither the session nor the audio has a c= line"),
    "bad address": ("v=0\nc=IN IP4", "SDP line 2: c=IN IP4; legal: c=IN IP4 ADDRESS"),
    "network type": ("v=0\nc=ATM NSAP x", "legal: c=IN IP4"),
    "profile": ("v=0\nc=IN IP4 1.2.3.4\nm=audio 4 UDP/TLS/RTP/SAVPF 0", "profile 'UDP/TLS/RTP/SAVPF'; known: RTP/AVP,"),
    "payload type": ("v=0\nc=IN IP4 1.2.3.4\nm=audio 4 RTP/AVP 128", "m= format '128'; legal: 0 to 127"),
    "rtpmap": ("v=0\nc=IN IP4 1.2.3.4\nm=audio 4 RTP/AVP 96\na=rtpmap:96 opus", "line 4: a=rtpmap:96 opus; legal"),
    "rtpmap number": ("v=0\nm=audio 4 RTP/AVP 96\na=rtpmap:x opus/1", "payload type 'x'; legal: 0 to 127"),
    "crypto": ("v=0\nm=audio 4 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AA", "the key has 1 bytes"),
    "rtcp": ("v=0\nm=audio 4 RTP/AVP 0\na=rtcp:5 IN IP4", "a=rtcp:5 IN IP4; legal: a=rtcp:5 IN IP4 ADDRESS"),
    "rtcp port": ("v=0\nm=audio 4 RTP/AVP 0\na=rtcp:x", "a=rtcp 'x'; legal: 0 to 65535"),
    "ssrc": ("v=0\nm=audio 4 RTP/AVP 0\na=ssrc:4294967296 cname:x", "a=ssrc '4294967296'"),
    "endless": ("v=0\n" + "a=x\n" * 20_000, "legal: at most 65536"),
}


@pytest.mark.parametrize("name", WRONG)
def test_malformed_descriptions_name_the_flaw(name):
    text, expected = WRONG[name]
    with pytest.raises(RemoteProtocolError) as caught:
        audio_sdp.parse(text)
    assert expected in str(caught.value)


def test_what_we_never_write():
    for wrong in (
        replace(OFFER, host="a b"),
        replace(OFFER, port=70_000),
        replace(OFFER, formats=()),
        replace(OFFER, profile="RTP/X"),
        replace(OFFER, formats=(Format(0, "PC MU", 8000),)),
        replace(OFFER, cname="x\r\na=evil"),
    ):
        with pytest.raises(LocalProtocolError):
            audio_sdp.build(wrong)


ANSWER = AudioSdp("127.0.0.1", 6000, (PCMU,), ssrc=5, rtcp_mux=True)


def test_agreement_on_plain_rtp():
    agreed = agree(OFFER, ANSWER)
    assert (agreed.host, agreed.port, agreed.form.name, agreed.ssrc, agreed.rtcp_mux) == (
        "127.0.0.1",
        6000,
        "PCMU",
        5,
        True,
    )
    assert (agreed.outgoing, agreed.incoming) == (None, None)


def test_opus_is_one_codec_whatever_channels_an_agent_writes():
    mono = replace(OPUS, channels=1)
    assert agree(replace(OFFER, formats=(OPUS,)), replace(ANSWER, formats=(mono,))).form == mono
    assert not replace(PCMU, channels=2).is_same_codec(PCMU)


def test_agreement_on_keys_is_one_a_direction():
    theirs = sdes.Crypto(2, sdes.AES_CM_32, b"t" * 30)
    agreed = agree(SECURE_OFFER, replace(ANSWER, profile="RTP/SAVP", crypto=(theirs,)))
    assert (agreed.outgoing, agreed.incoming) == (SECURE_OFFER.crypto[1], theirs)


def test_keys_beside_plain_rtp_are_the_answerers_choice():
    offer = replace(SECURE_OFFER, profile=audio_sdp.PLAIN)
    assert agree(offer, ANSWER).outgoing is None
    assert agree(offer, replace(ANSWER, crypto=(KEY,))).outgoing == KEY
    ours = Answerer("h", 1, (PCMU,), sdes.SUITES, lambda suite: bytes(suite.material_bytes))
    assert answer(offer, ours).crypto[0].tag == 1
    assert answer(offer, replace(ours, suites=())).crypto == ()


@pytest.mark.parametrize(
    ("offer", "answered", "expected"),
    [
        (OFFER, replace(ANSWER, port=0), "refuses the audio (port 0)"),
        (OFFER, replace(ANSWER, direction="sendonly"), "is sendonly; a call needs sendrecv"),
        (OFFER, replace(ANSWER, host="0.0.0.0"), "puts the call on hold"),
        (OFFER, replace(ANSWER, host="239.1.1.1"), "multicast"),
        (OFFER, replace(ANSWER, longest_packet_ms=10), "at most 10 ms (a=maxptime); ours hold 20"),
        (OFFER, replace(ANSWER, formats=(G722,)), "answered G722/8000; offered PCMU/8000"),
        (OFFER, replace(ANSWER, formats=()), "answered none that is known"),
        (OFFER, replace(ANSWER, formats=(replace(PCMU, payload_type=96),)), "payload type 96; it was offered as 0"),
        (OFFER, replace(ANSWER, crypto=(KEY,)), "the offer had none"),
        (OFFER, replace(ANSWER, profile="RTP/SAVP"), "has no key for SRTP: it has no a=crypto line"),
        (SECURE_OFFER, ANSWER, "(RTP/AVP) has no key for SRTP"),
        (SECURE_OFFER, replace(ANSWER, crypto=(KEY,)), "is RTP/AVP, the offer RTP/SAVP"),
        (SECURE_OFFER, replace(ANSWER, profile="RTP/SAVP", crypto=(replace(KEY, tag=9),)), "takes a=crypto:9"),
    ],
)
def test_answers_that_break_the_rules(offer, answered, expected):
    with pytest.raises(RemoteProtocolError) as caught:
        agree(offer, answered)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (replace(OFFER, port=0), "refuses its own audio"),
        (replace(OFFER, formats=(G722,)), "no common codec: offered G722/8000; known here: PCMU/8000"),
        (replace(SECURE_OFFER, crypto=()), "RTP/SAVP without an a=crypto line that can be used: offered suites: none"),
        (SECURE_OFFER, "offered suites: AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32"),
    ],
)
def test_offers_nobody_can_answer(offer, expected):
    ours = Answerer("h", 1, (PCMU,), (sdes.AES_GCM_128,), lambda suite: bytes(suite.material_bytes))
    with pytest.raises(RemoteProtocolError) as caught:
        answer(offer, ours)
    assert expected in str(caught.value)
