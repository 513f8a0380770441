import pytest

from harness.protocols.sip.reading import parse
from target_stack.edge.rtp.digits import Digit
from target_stack.edge.sip_bodies import relayed_digit, sdp_of

pytestmark = pytest.mark.unit

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"
MULTIPART = (
    b"--frontier\r\nContent-Type: application/isup;version=nxv3\r\n\r\n\x01\x00I\r\n"
    b"--frontier\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--frontier--\r\n"
)


def request(content_type, body):
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    head = (
        "INVITE sip:agent@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n"
        "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:9>\r\n"
        f"{kind}Content-Length: {len(body)}\r\n\r\n"
    )
    return parse(head.encode() + body)


@pytest.mark.parametrize(
    ("content_type", "body", "found"),
    [
        ("application/sdp", SDP, SDP),
        ("Application/SDP ; charset=utf-8", SDP, SDP),
        ("", b"", b""),
        ("multipart/mixed; boundary=frontier", MULTIPART, SDP),
        ('multipart/mixed;boundary="frontier"', MULTIPART, SDP),
        ("multipart/mixed;boundary=other", MULTIPART, None),
        ("multipart/mixed", b"garbage", None),
        ("text/plain", SDP, None),
    ],
)
def test_sdp_is_found_alone_or_among_others(content_type, body, found):
    sdp = sdp_of(request(content_type, body))
    assert (sdp and sdp.strip()) == (found and found.strip())


@pytest.mark.parametrize(
    ("content_type", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", Digit("5", 160.0)),
        ("application/dtmf-relay", b"Signal= *\nDuration= 80", Digit("*", 80.0)),
        ("application/dtmf-relay; x=y", b"signal=d\r\n", Digit("D", 100.0)),
        ("application/dtmf", b"7", Digit("7", 100.0)),
        ("application/dtmf-relay", b"Signal=12\r\n", None),
        ("application/dtmf-relay", b"Signal=\r\n", None),
        ("application/dtmf-relay", b"\xff\xfe", None),
        ("text/plain", b"5", None),
    ],
)
def test_digits_relayed_by_info(content_type, body, digit):
    assert relayed_digit(content_type, body) == digit
