"""Responses written in every way there is: the plain call does with each what the user agent does with it."""

import random
import re

import pytest
from plain_side import BEGIN, AgentSide, PlainSide, begin, link
from sip_link import MS, label

from harness.callers.plain.hot.layout import Call, State
from harness.protocols.sip.reading import parse

pytestmark = pytest.mark.unit

SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
HOST, PORT = "192.0.2.2", 5060
USUAL = [
    "Via: {via}", "From: {from_}", "To: {to};tag=abc", "Call-ID: {call_id}", "CSeq: {cseq}",
    "Contact: <sip:bob@192.0.2.2:5060>", "Server: there/1.0", "Content-Type: application/sdp",
]  # fmt: skip

# How the 200 is written otherwise: (what is plain about it, lines in place of the usual ones by their beginnings).
WAYS = {
    "as usual": (True, {}),
    "compact": (True, {"Via": "v: {via}", "From": "f: {from_}", "To": "t: {to};tag=abc", "Call-ID": "i: {call_id}",
                       "Contact": "m: <sip:bob@192.0.2.2:5060>", "Content-Type": "c: application/sdp"}),
    "any case": (True, {"Call-ID": "CALL-id: {call_id}", "CSeq": "cseq: {cseq}", "Server": "SERVER: there/1.0"}),
    "white space": (True, {"CSeq": "CSeq:  \t {cseq}  ", "To": "To:{to};tag=abc "}),
    "space before the colon": (False, {"CSeq": "CSeq : {cseq}"}),
    "default port": (True, {"Contact": "Contact: <sip:bob@192.0.2.2>"}),
    "no user": (True, {"Contact": "Contact: <sip:192.0.2.2:5060;transport=UDP>"}),
    "a name in Contact": (False, {"Contact": "Contact: <sip:bob@there.example>"}),
    "another port": (False, {"Contact": "Contact: <sip:bob@192.0.2.2:5070>"}),
    "another host": (False, {"Contact": "Contact: <sip:bob@192.0.2.3:5060>"}),
    "maddr": (False, {"Contact": "Contact: <sip:bob@192.0.2.2:5060;maddr=192.0.2.7>"}),
    "display name": (False, {"Contact": 'Contact: "Bob" <sip:bob@192.0.2.2:5060>'}),
    "parameters of Contact": (False, {"Contact": "Contact: <sip:bob@192.0.2.2:5060>;expires=60"}),
    "bare Contact": (False, {"Contact": "Contact: sip:bob@192.0.2.2:5060"}),
    "two Contacts": (False, {"Contact": "Contact: <sip:bob@192.0.2.2:5060>\r\nContact: <sip:x@y>"}),
    "sips": (False, {"Contact": "Contact: <sips:bob@192.0.2.2:5060>"}),
    "no Contact": (False, {"Contact": "X-None: 1"}),
    "no tag": (False, {"To": "To: {to}"}),
    "quoted tag": (False, {"To": 'To: {to};x="a";tag=abc'}),
    "other To": (False, {"To": "To: <sip:BOB@192.0.2.2>;tag=abc"}),
    "Record-Route": (False, {"Server": "Record-Route: <sip:192.0.2.2;lr>"}),
    "Require": (False, {"Server": "Require: 100rel"}),
    "Session-Expires": (False, {"Server": "Session-Expires: 900;refresher=uas"}),
    "folded": (False, {"Server": "Server: there\r\n and back"}),
    "folded CSeq": (False, {"CSeq": "CSeq: 1\r\n INVITE"}),
    "two Vias": (False, {"Server": "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"}),
    "two CSeqs": (False, {"Server": "CSeq: {cseq}"}),
    "other CSeq": (False, {"CSeq": "CSeq: 2 INVITE"}),
    "method in lower case": (False, {"CSeq": "CSeq: 1 invite"}),
    "received and rport": (True, {"Via": "Via: {via};received=192.0.2.1"}),
    "comment in Via": (False, {"Via": "Via: {via} (a comment)"}),
    "no branch": (False, {"Via": "Via: SIP/2.0/UDP 192.0.2.1:5060;rport"}),
    "other sent-by": (False, {"Via": "Via: {via_elsewhere}"}),
    "other From tag": (False, {"From": "From: <sip:callquake@192.0.2.1:5060>;tag=0"}),
    "no From": (False, {"From": "X-None: 1"}),
    "other Call-ID": (False, {"Call-ID": "Call-ID: {call_id}x"}),
    "no Call-ID": (False, {"Call-ID": "X-None: 1"}),
    "no Server": (True, {"Server": "User-Agent: that"}),
    "both names": (True, {"Server": "User-Agent: that\r\nServer: there/1.0"}),
    "an empty name": (True, {"Server": "Server:"}),
    "many headers": (True, {"Server": "\r\n".join(f"X-{n}: {n}" for n in range(60))}),
    "octets": (False, {"Server": "Server: \xe4"}),
    "a lone CR": (False, {"Server": "Server: a\rb"}),
    "NUL": (False, {"Server": "Server: a\0b"}),
    "a long tag": (False, {"To": f"To: {{to}};tag={'a' * 600}"}),
    "a long Contact": (False, {"Contact": f"Contact: <sip:{'b' * 600}@192.0.2.2:5060>"}),
    "as long as may be": (True, {"Contact": f"Contact: <sip:{'b' * 480}@192.0.2.2:5060>"}),
    "no colon": (False, {"Server": "Server"}),
    "a side channel": (False, {"Server": "X-Callquake-Events: ws://192.0.2.2/x"}),
}  # fmt: skip
STARTS = {
    "SIP/2.0 200 OK": True,
    "SIP/2.0 200 ": True,
    "SIP/2.0 202 Accepted": True,
    "SIP/2.0 200": False,
    "sip/2.0 200 OK": False,
    "SIP/2.0  200 OK": False,
    "SIP/2.0 2000 OK": False,
    "SIP/3.0 200 OK": False,
    "SIP/2.0 200 \xc3\x9c": False,
    "SIP/2.0 099 x": False,
    "SIP/2.0 700 x": False,
}


MARKS = {chr(0xE000 + n): name for n, name in enumerate(["via", "from_", "to", "call_id", "cseq"])}


def fields_of(invite):
    return {
        "via": invite.get("via"),
        "via_elsewhere": re.sub(r"192\.0\.2\.1:5060", "192.0.2.1:5061", invite.get("via")),
        "from_": invite.get("from"),
        "to": invite.get("to"),
        "call_id": invite.call_id,
        "cseq": invite.get("cseq"),
    }


def written(invite, start, lines, body=SDP, length=None):
    fields = fields_of(invite)
    size = len(body) if length is None else length
    head = [start, *(line.format(**fields) for line in lines), f"Content-Length: {size}"]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("latin-1")


def after(side, response_of, then=()):
    """Send one response to the INVITE of a call and return what the caller says within a minute, and notes."""
    made = link(side, hold_ns=900 * MS)
    made.cut.add("a")
    begin(made)
    invite = made.sent[0][2]
    made.run(0.05)
    answer_to(made, response_of(invite))
    for seconds, make in then:
        made.run(seconds)
        answer_to(made, make(invite))
    made.run(60)
    heard = [(when, label(message), message.uri_text, message.get("route")) for when, _, message in made.sent]
    return heard, {name: value for name, value in made.a.facts().items() if name != "call_id"}, made


def answer_to(made, data):
    made.a.receive(data, made.flow_a, made.now)
    made.settle()


def same(response_of, then=()):
    agent, plain = (after(side, response_of, then) for side in (AgentSide, PlainSide))
    assert plain[0] == agent[0]
    assert plain[1] == agent[1]
    return plain[2]


def lines_of(changes):
    names = [line.partition(":")[0] for line in USUAL]
    assert set(changes) <= set(names)
    return [changes.get(name, line) for name, line in zip(names, USUAL, strict=True)]


@pytest.mark.parametrize("name", WAYS)
def test_a_200_written_so(name):
    is_plain, changes = WAYS[name]
    made = same(lambda invite: written(invite, "SIP/2.0 200 OK", lines_of(changes)))
    assert (made.a.begun is None) == is_plain or not made.a.facts()["status"]


@pytest.mark.parametrize("start", STARTS)
def test_a_status_line_written_so(start):
    made = same(lambda invite: written(invite, start, USUAL))
    if STARTS[start]:
        assert made.a.begun is None
        assert made.a.facts()["status"] in (200, 202)


@pytest.mark.parametrize(("body", "length"), [("", 0), (SDP, 5), (SDP, 5000), (SDP, "x"), (SDP, ""), (SDP, "+87")])
def test_a_length_written_so(body, length):
    same(lambda invite: written(invite, "SIP/2.0 200 OK", USUAL, body, length))


def test_a_180_without_a_tag_and_a_200_of_another_fork():
    ringing = lines_of({"To": "To: {to}"})
    one, other = lines_of({"To": "To: {to};tag=one"}), lines_of({"To": "To: {to};tag=other"})
    same(
        lambda invite: written(invite, "SIP/2.0 180 Ringing", ringing),
        [
            (0.1, lambda invite: written(invite, "SIP/2.0 183 Session Progress", one)),
            (0.1, lambda invite: written(invite, "SIP/2.0 200 OK", other)),
            (0.1, lambda invite: written(invite, "SIP/2.0 200 OK", one)),
        ],
    )


def test_more_provisional_responses_than_are_kept():
    rings = [(0.2, lambda invite: written(invite, "SIP/2.0 180 Ringing", USUAL))] * 20
    made = same(
        lambda invite: written(invite, "SIP/2.0 100 Trying", USUAL),
        [*rings, (0.2, lambda invite: written(invite, "SIP/2.0 200 OK", USUAL))],
    )
    assert len(made.a.facts()["provisionals"]) == 21
    assert made.a.begun is not None


def test_a_response_longer_than_is_kept():
    changes = lines_of({"Server": f"X-Long: {'x' * 6000}"})
    made = same(lambda invite: written(invite, "SIP/2.0 200 OK", changes))
    assert made.a.begun is not None


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 60))])
def test_damaged_at_random(seed):
    """Bytes changed, cut, doubled and swapped by chance: whatever it comes to, both do the same."""
    draw = random.Random(seed)
    for _ in range(8):
        text = damaged(draw)
        same(lambda invite, text=text: filled_in(text, invite))


def damaged(draw):
    """Return a response of which some is not as it should be; each of the call's own texts is one character in it."""
    status = draw.choice(["SIP/2.0 200 OK", "SIP/2.0 180 Ringing", "SIP/2.0 486 Busy Here"])
    marks = {name: mark for mark, name in MARKS.items()}
    lines = [status, *(line.format(**marks) for line in USUAL), f"Content-Length: {len(SDP)}"]
    text = "\r\n".join(lines) + "\r\n\r\n" + SDP
    for _ in range(draw.choice([1, 1, 2, 3])):
        at, end = draw.randrange(len(text)), draw.randrange(1, 12)
        text = draw.choice(
            [
                text[:at] + chr(draw.randrange(256)) + text[at + 1 :],
                text[:at],
                text[: at + end] + text[at:],
                text[:at] + text[at + end :],
                text[:at] + text[at:].swapcase(),
            ]
        )
    return text


def filled_in(text, invite):
    fields = fields_of(invite)
    return re.sub("[\ue000-\ue00f]", lambda found: fields[MARKS[found[0]]], text).encode("latin-1")


def test_a_datagram_of_anybody_changes_nothing():
    made = link(PlainSide)
    begin(made)
    draw = random.Random(1)
    stem = made.a.desk.stem.encode()
    for size in (0, 1, 11, 12, 40, 63, 64, 65, 300, 1500):
        for data in (draw.randbytes(size), stem * 3 + draw.randbytes(size), b"SIP/2.0 200 " + draw.randbytes(size)):
            answer_to(made, data)
    assert made.a.desk.tables.calls[0, Call.STATE] == State.CALLING
    assert made.a.begun is None
    assert made.now == BEGIN


def test_the_users_of_a_message_find_it_well_formed():
    made = link(PlainSide, hold_ns=900 * MS)
    begin(made)
    answer_to(made, written(made.sent[0][2], "SIP/2.0 200 OK", USUAL))
    made.run(2)
    texts = [message for _, side, message in made.sent if side == "a"]
    assert [label(message) for message in texts[:3]] == ["INVITE", "ACK", "BYE"]
    branches = {parse(serialised(message)).top_via.branch for message in texts[:3]}
    assert len(branches) == 3


def serialised(message):
    from harness.protocols.sip.message import serialise

    return serialise(message)


def test_an_ack_again_to_a_contact_that_grew():
    """A 2xx that comes again when its call is over says where the ACK goes; not past what there is room for."""
    usual = lambda invite: written(invite, "SIP/2.0 200 OK", USUAL)  # noqa: E731
    made = link(PlainSide)
    begin(made)
    invite = made.sent[0][2]
    answer_to(made, usual(invite))
    bye = made.sent[-1][2]
    assert label(bye) == "BYE"
    answer_to(made, written(bye, "SIP/2.0 200 OK", lines_of({"To": "To: {to}"})))
    [record] = made.a.records
    assert record["sip"]["bye"] == "answered"
    before = len(made.sent)
    answer_to(made, usual(invite))
    assert label(made.sent[-1][2]) == "ACK"
    assert len(made.sent) == before + 1
    for size in (600, 4000, 30_000):
        contact = f"Contact: <sip:{'b' * size}@192.0.2.2:5060>"
        answer_to(made, written(invite, "SIP/2.0 200 OK", lines_of({"Contact": contact})))
    assert len(made.sent) == before + 1
