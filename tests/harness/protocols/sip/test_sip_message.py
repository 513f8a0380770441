"""SIP messages: tolerant in, strict out."""

import tracemalloc

import pytest

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.sip.check import check, check_used
from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.message import Request, Response, serialise
from harness.protocols.sip.reading import parse
from harness.protocols.sip.refusal import refusal

pytestmark = pytest.mark.unit

INVITE = (
    b"INVITE sip:bob@node1 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=z9hG4bK1\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "A, B" <sip:a@127.0.0.1>;tag=1\r\n'
    b"To: <sip:bob@node1>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Contact: <sip:a@127.0.0.1:5070>\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\n"
)


def changed(old, new, message=INVITE):
    assert old in message
    return message.replace(old, new)


def refused(data):
    with pytest.raises(BadMessage) as error:
        check(parse(data))
    return error.value


def test_reads_what_routes_a_message():
    message = parse(INVITE)
    assert (message.method, message.uri.user, message.uri.host) == ("INVITE", "bob", "node1")
    assert (message.top_via.branch, message.top_via.host, message.top_via.port) == ("z9hG4bK1", "127.0.0.1", 5070)
    assert message.top_via.wants_rport
    assert message.top_via.rport is None
    assert (message.from_.display, message.from_.tag, message.to.tag) == ("A, B", "1", None)
    assert (message.call_id, message.cseq.number, message.cseq.method) == ("c1", 1, "INVITE")
    assert message.body == b"v=0\n"


def test_serialises_what_it_read():
    assert serialise(parse(INVITE)) == INVITE


def test_keeps_order_case_and_octets_that_are_no_utf8():
    data = changed(b"Max-Forwards: 70", b"x-ODD: \xff\xfe \xc3\xa4\r\nMAX-forwards: 70")
    message = parse(data)
    assert [name for name, _value in message.headers][1:3] == ["x-ODD", "MAX-forwards"]
    assert message.get("X-Odd") == "\udcff\udcfe ä"
    assert serialise(message) == data


@pytest.mark.parametrize(
    "data",
    [
        INVITE.replace(b"\r\n", b"\n"),
        b"\r\n\r\n" + INVITE,
        changed(b"Max-Forwards:", b"Max-Forwards \t:"),
        changed(b"CSeq: 1 INVITE", b"CSeq: 1\r\n\t INVITE"),
        changed(b"Call-ID:", b"i:"),
        changed(b"Content-Length", b"L"),
        changed(b"To: <sip:bob@node1>", b"t:sip:bob@node1"),
        changed(b"SIP/2.0\r\n", b"sip/2.0\r\n"),
        INVITE + b"more than Content-Length says",
        changed(b"Content-Length: 4\r\n", b""),
        changed(b"<sip:bob@node1>", b"<sip:*98#@my_host>"),
        changed(b"<sip:a@127.0.0.1:5070>", b'<sip:[::1]:5070;transport=tcp;lr>;+sip.instance="<urn:uuid:1>";q=1.0'),
    ],
)
def test_tolerates(data):
    message = parse(data)
    check(message)
    assert (message.call_id, message.cseq.method, message.max_forwards) == ("c1", "INVITE", 70)
    assert message.body == b"v=0\n"


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        (b"CSeq: 1 INVITE\r\n", b"", 400, "CSeq is missing"),
        (b"Call-ID: c1", b"Call-ID:", 400, "Call-ID is missing"),
        (b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia", 505, "version 'SIP/3.0'"),
        (b"INVITE sip", b"INV\x00TE sip", None, "method 'INV\\x00TE' is no token"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE", 400, "CSeq is of 'BYE'"),
        (b"Via: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=z9hG4bK1\r\n", b"", None, "Via is missing"),
        (b"Via: SIP/2.0/UDP 127.0.0.1:5070", b"Via: SIP/2.0/UDP 127.0.0.1:65536", 400, "Via: port 65536"),
        (b"Max-Forwards: 70", b"no field", 400, "'no field' is no header field"),
        (b"Max-Forwards: 70", b"no field: 1", 400, "is no header field"),
        (b"Max-Forwards: 70", b"Max-Forwards: 256", 400, "Max-Forwards: 256 is too large"),
        (b"Max-Forwards: 70", "Max-Forwards: \u0667".encode(), 400, "is no number"),
        (b";tag=1", b";tag=1;", 400, "From: "),
        (b"<sip:bob@node1>\r\n", b"<sip:bob@node1:0>\r\n", 400, "To: URI"),
        (b"<sip:a@127.0.0.1:5070>", b"*", 400, "Contact: * is for REGISTER only"),
        (b"Content-Length: 4", b"Content-Length: 5", 400, "Content-Length is 5, the body has 4"),
        (b"Content-Length: 4", b"Content-Length: " + b"9" * 5000, 400, "Content-Length: 999"),
        (b"Max-Forwards: 70", b"Require: a b", 400, "Require: 'a b' is no token"),
        (b"Max-Forwards: 70", b"Session-Expires: soon", 400, "Session-Expires: 'soon' is no number"),
        (b"Max-Forwards: 70", b'Authorization: Digest nonce="x', 400, "Authorization: "),
        (b"Max-Forwards: 70", b"Authorization: Digest a=1, a=2", 400, "parameter 'a' is given twice"),
    ],
)
def test_refuses_with_a_reason(old, new, status, reason):
    error = refused(changed(old, new))
    assert isinstance(error, RemoteProtocolError)
    assert reason in error.reason
    assert error.status == status


def test_an_ack_and_a_response_are_never_answered():
    ack = changed(b"INVITE sip", b"ACK sip")
    assert refused(ack).status is None
    response = changed(b"INVITE sip:bob@node1 SIP/2.0", b"SIP/2.0 200 OK").replace(b"CSeq: 1 INVITE", b"CSeq: x")
    assert refused(response).status is None
    assert refusal(refused(response), "127.0.0.1", 1) is None


def test_refusal_repeats_what_routes_it_and_tags_itself():
    error = refused(changed(b"Content-Length: 4", b"Content-Length: x"))
    answer = parse(serialise(refusal(error, "127.0.0.9", 4000)))
    assert answer.status == 400
    assert answer.reason == "Content-Length: 'x' is no number"
    assert (answer.top_via.received, answer.top_via.rport, answer.top_via.branch) == ("127.0.0.9", 4000, "z9hG4bK1")
    assert (answer.from_.tag, answer.call_id, str(answer.cseq)) == ("1", "c1", "1 INVITE")
    assert answer.to.tag == refusal(error, "127.0.0.9", 4000).to.tag
    assert answer.to.tag


def test_reason_phrase_of_a_refusal_holds_nothing_of_the_peer_that_could_break_a_line():
    error = refused(changed(b"Call-ID: c1", b"Call-ID: c1\r\nC\xc3\xa4ll: 1"))
    assert serialise(refusal(error, "127.0.0.1", 1)).count(b"\r\n") == 8


def test_lists_are_split_outside_quotes_and_brackets_only():
    message = parse(changed(b"Contact: ", b'm: "x, \\"y" <sip:a,b@h?x=%2C>;q="0,5" , <sip:c@h>\r\nContact: '))
    assert [str(c.uri) for c in message.contacts] == ["sip:a,b@h?x=%2C", "sip:c@h", "sip:a@127.0.0.1:5070"]
    assert message.contacts[0].display == 'x, "y'
    assert message.get_all("m") == message.get_all("Contact")


def test_built_message_goes_out_with_its_length():
    response = Response(180, None, [("v", "SIP/2.0/TCP [::1];branch=z9hG4bK2")], b"hi")
    assert (
        serialise(response)
        == b"SIP/2.0 180 Ringing\r\nv: SIP/2.0/TCP [::1];branch=z9hG4bK2\r\nContent-Length: 2\r\n\r\nhi"
    )


@pytest.mark.parametrize(
    "message",
    [
        Request("INVITE", "sip:a b", []),
        Request("INV ITE", "sip:a", []),
        Request("INVITE", "sip:a", [("X", "1\r\nY: 2")]),
        Request("INVITE", "sip:a", [("X", "1\n2")]),
        Request("INVITE", "sip:a", [("X Y", "1")]),
        Request("INVITE", "sip:a", [("", "1")]),
        Request("INVITE", "sip:a", [("l", "7")], b"123"),
        Response(200, "O\rK", []),
    ],
)
def test_nothing_illegal_goes_out(message):
    with pytest.raises(LocalProtocolError):
        serialise(message)


def test_contact_star_is_for_ending_a_registration():
    star = changed(b"Contact: <sip:a@127.0.0.1:5070>", b"Contact: *\r\nExpires: 0")
    register = star.replace(b"INVITE", b"REGISTER")
    check(parse(register))
    assert parse(register).is_contact_star
    assert parse(register).contacts == []
    assert "needs Expires: 0" in refused(changed(b"Expires: 0", b"Expires: 1", register)).reason


def test_what_was_read_of_ended_calls_is_not_kept_for_long():
    def read(number):
        lines = [
            "SIP/2.0 200 OK",
            f"Via: SIP/2.0/UDP 127.0.0.1:5060;rport=5060;branch=z9hG4bK{number:032x}",
            f"From: <sip:load@127.0.0.1>;tag={number:016x}",
            f"To: <sip:agent@127.0.0.1>;tag=b{number:016x}",
            f"Call-ID: {number:020x}@127.0.0.1",
            "CSeq: 1 INVITE",
            "Content-Length: 0",
        ]
        check_used(parse(("\r\n".join(lines) + "\r\n\r\n").encode()))

    tracemalloc.start()
    try:
        for number in range(4000):
            read(number)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 3_000_000
