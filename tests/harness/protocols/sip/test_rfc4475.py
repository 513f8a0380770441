"""RFC 4475: every valid message parses and means what the RFC says, every invalid one is refused with its reason.

The table is the RFC's, section by section. `OPEN` marks what the RFC leaves to the implementation, and what we chose.
"""

import contextlib
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from harness.protocols.sip.check import check
from harness.protocols.sip.framing import StreamFramer
from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.message import Request, Response, serialise
from harness.protocols.sip.reading import parse
from harness.protocols.sip.refusal import refusal

pytestmark = pytest.mark.unit

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "sip" / "rfc4475"

# 3.1.1 (valid syntax), 3.2, 3.3 and 3.4 (nothing wrong with the grammar): name, start line, how many header fields, how
# many octets of body.
PARSED = [
    ("wsinv", "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0", 14, 150),
    ("esc01", "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", 9, 150),
    ("escnull", "REGISTER sip:example.com SIP/2.0", 9, 0),
    ("esc02", "RE%47IST%45R sip:registrar.example.com SIP/2.0", 10, 0),
    ("lwsdisp", "OPTIONS sip:user@example.com SIP/2.0", 7, 0),
    ("longreq", "INVITE sip:user@example.com SIP/2.0", 43, 150),
    # The INVITE behind Content-Length: 0 is noise of the datagram.
    ("dblreq", "REGISTER sip:example.com SIP/2.0", 8, 0),
    ("semiuri", "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", 8, 0),
    ("transports", "OPTIONS sip:user@example.com SIP/2.0", 12, 0),
    ("mpart01", "MESSAGE sip:kumiko@example.org SIP/2.0", 14, 553),
    ("unreason", "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое", 8, 154),
    ("noreason", "SIP/2.0 100 ", 7, 0),
    # 3.2.1. OPEN: 400, or matched without the branch as RFC 2543 says. It parses, and `is_rfc3261` says no.
    ("badbranch", "OPTIONS sip:user@example.com SIP/2.0", 8, 0),
    # 3.3.2 to 3.3.7: for the user agent to answer 416, 416, 400 or 200, 420, 415, 401 or 200.
    ("unkscm", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", 7, 0),
    ("novelsc", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", 7, 0),
    ("unksm2", "REGISTER sip:example.com SIP/2.0", 8, 0),
    ("bext01", "OPTIONS sip:user@example.com SIP/2.0", 9, 0),
    ("invut", "INVITE sip:user@example.com SIP/2.0", 9, 40),
    ("regaut01", "REGISTER sip:example.com SIP/2.0", 8, 0),
    # 3.3.10: the broadcast address is in the second Via, which a user agent has no use for.
    ("bcast", "SIP/2.0 200 OK", 9, 154),
    # 3.3.11. OPEN: 483, or an answer to an OPTIONS that went no further.
    ("zeromf", "OPTIONS sip:user@example.com SIP/2.0", 7, 0),
    ("cparam01", "REGISTER sip:example.com SIP/2.0", 8, 0),
    ("cparam02", "REGISTER sip:example.com SIP/2.0", 8, 0),
    ("regescrt", "REGISTER sip:example.com SIP/2.0", 8, 0),
    ("sdp01", "INVITE sip:user@example.com SIP/2.0", 10, 150),
    # 3.4.1: no branch, no From tag, no Max-Forwards, no Content-Length.
    ("inv2543", "INVITE sip:UserB@example.com SIP/2.0", 7, 105),
    (
        "intmeth",
        (
            "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:"
            "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0"
        ),
        8,
        0,
    ),
]

# 3.1.2 and 3.3.1, 3.3.8, 3.3.9: name, status to answer with (None: a response, dropped), what the reason must say.
REFUSED = [
    ("badinv01", 400, "Via: '' is no parameter"),
    ("clerr", 400, "Content-Length is 9999, the body has 154 octets"),
    ("ncl", 400, "Content-Length: '-999' is no number"),
    ("scalar02", 400, "CSeq: 36893488147419103232 is too large"),
    ("scalarlg", None, "CSeq: 9292394834772304023312 is too large"),
    ("quotbal", 400, "To: "),
    # OPEN: the brackets might be taken off. They are not.
    ("ltgtruri", 400, "holds white space, quotes or angle brackets"),
    # OPEN: three that a lenient element could read after all. They are refused: what is meant is a guess.
    ("lwsruri", 400, "is not a request line"),
    ("lwsstart", 400, "is not a request line"),
    ("trws", 400, "is not a request line"),
    ("escruri", 400, "the Request-URI has headers"),
    # OPEN: the field could be ignored, as it is by whoever does not ask for it; `check` refuses it.
    ("baddate", 400, "Date: 'Fri, 01 Jan 2010 16:00:00 EST'"),
    ("regbadct", 400, "Contact: 'sip:user@example.com?Route="),
    # OPEN: spaces and commas might be forgiven. They are not.
    ("badaspec", 400, "To: URI ' sip:t.watson@example.org ' holds white space"),
    ("baddn", 400, "From: 'Bell, Alexander "),
    ("badvers", 505, "version 'SIP/7.0'; legal: SIP/2.0"),
    ("mismatch01", 400, "CSeq is of 'INVITE', the request is 'OPTIONS'"),
    # OPEN: 501 would do as well.
    ("mismatch02", 400, "CSeq is of 'INVITE', the request is 'NEWMETHOD'"),
    ("bigcode", None, "is not a status line"),
    ("insuf", 400, "From is missing"),
    ("multi01", 400, "from is given more than once"),
    ("mcl01", 400, "content-length is given more than once"),
]


def octets(name):
    return (VECTORS / f"{name}.dat").read_bytes()


def read(name):
    message = parse(octets(name))
    check(message)
    return message


def test_the_table_names_every_message_once():
    named = [row[0] for row in PARSED] + [row[0] for row in REFUSED]
    assert sorted(named) == sorted(path.stem for path in VECTORS.glob("*.dat"))
    assert len(named) == 49


@pytest.mark.parametrize(("name", "line", "fields", "body"), PARSED, ids=[row[0] for row in PARSED])
def test_valid_message_parses(name, line, fields, body):
    message = read(name)
    assert message.start_line() == line
    assert (len(message.headers), len(message.body)) == (fields, body)


@pytest.mark.parametrize("name", [row[0] for row in PARSED])
def test_valid_message_survives_a_round_trip(name):
    message = read(name)
    again = parse(serialise(message))
    kept = [field for field in again.headers if field not in message.headers]
    assert (again.start_line(), again.body) == (message.start_line(), message.body)
    assert again.headers[: len(message.headers)] == message.headers
    assert kept in ([], [("Content-Length", str(len(message.body)))])


@pytest.mark.parametrize(("name", "status", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_invalid_message_is_refused_with_a_reason(name, status, reason):
    with pytest.raises(BadMessage) as refused:
        read(name)
    assert reason in refused.value.reason
    assert refused.value.status == status


@pytest.mark.parametrize(("name", "status"), [row[:2] for row in REFUSED if row[1]])
def test_refusal_can_be_sent_and_goes_back_the_way_it_came(name, status):
    with pytest.raises(BadMessage) as refused:
        read(name)
    answer = refusal(refused.value, "192.0.2.77", 5099)
    sent = serialise(answer)
    assert sent.startswith(f"SIP/2.0 {status} ".encode())
    assert answer.get("via").startswith("SIP/")
    assert [n for n, _v in answer.headers if n not in ("Via", "From", "To", "Call-ID", "CSeq")] == []


@pytest.mark.parametrize("name", [row[0] for row in PARSED + REFUSED])
def test_cut_short_anywhere_it_is_read_or_refused(name):
    data = octets(name)
    for end in range(0, len(data), 1 if len(data) < 600 else 7):
        # Anything but a message or BadMessage fails the test.
        with contextlib.suppress(BadMessage):
            check(parse(data[:end]))


def test_a_short_tortuous_invite():
    message = read("wsinv")
    assert message.to.uri.text == "sip:vivekg@chair-dnrc.example.com"
    assert message.to.tag == "1918181833n"
    assert (message.from_.display, message.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert message.max_forwards == 68
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert message.get("subject") == ""
    assert message.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert [(via.transport, via.host, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    (route,) = message.routes
    assert route.uri.is_loose
    assert route.uri.params["unknown-no-value"] is None
    (contact,) = message.contacts
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}


def test_wide_range_of_characters():
    message = read("intmeth")
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.to.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.uri.host == "example.com"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert message.from_.params["fromparam''~+*_!.-%"] == "работающий"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    assert message.max_forwards == 255


def test_percent_is_an_escape_in_uris_only():
    message = read("esc01")
    assert unquote_to_bytes(message.uri.user) == b"sips:user@example.com"
    assert message.uri.host == "example.net"
    assert unquote_to_bytes(message.from_.uri.user) == b"I have spaces"
    nulls = read("escnull")
    assert [unquote_to_bytes(c.uri.user) for c in nulls.contacts] == [b"\x00", b"\x00\x00"]
    unescaped = read("esc02")
    assert unescaped.method == "RE%47IST%45R"
    assert unescaped.to.display == "%Z%45"
    # Two Contacts, not three.
    assert [c.uri.user for c in unescaped.contacts] == ["alias1", "alias3"]


def test_long_values_and_many_vias():
    message = read("longreq")
    assert len(message.vias) == 34
    assert message.vias[-1].branch.startswith("verylonglong")
    assert not message.top_via.branch
    assert message.to.uri.port == 6000
    assert len(message.from_.tag) == 155


def test_semicolons_belong_to_the_user_part():
    message = read("semiuri")
    assert unquote_to_bytes(message.uri.user) == b"user;par=u@example.net"
    assert (message.uri.host, dict(message.uri.params)) == ("example.com", {})
    assert message.values("accept")[-1] == "message/sipfrag"


def test_transports_known_and_unknown():
    assert [via.transport for via in read("transports").vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def test_multipart_body_is_kept_octet_for_octet():
    message = read("mpart01")
    assert message.valued("content-type").params["boundary"] == "7a9cbec02ceef655"
    assert message.content_type == "multipart/mixed"
    assert b"\x00" in message.body
    assert message.body.endswith(b"--7a9cbec02ceef655--\r\n")


def test_what_the_user_agent_needs_for_its_own_answers():
    assert read("unkscm").uri.scheme == "nobodyknowsthisscheme"
    assert read("novelsc").uri.scheme == "soap.beep"
    assert [read("unksm2").to.uri.scheme, read("unksm2").from_.uri.scheme] == ["isbn", "http"]
    assert read("bext01").tokens("require") == {"nothingsupportsthis", "nothingsupportsthiseither"}
    assert read("invut").content_type == "application/unknownformat"
    assert read("regaut01").auths("authorization")[0].scheme == "NoOneKnowsThisScheme"
    assert read("zeromf").max_forwards == 0
    assert read("sdp01").values("accept") == ["text/nobodyKnowsThis"]
    assert read("bcast").top_via.host == "192.0.2.198"
    assert not read("badbranch").top_via.is_rfc3261


def test_parameters_of_the_contact_and_of_its_uri_are_told_apart():
    (outside,) = read("cparam01").contacts
    (inside,) = read("cparam02").contacts
    assert ("unknownparam" in outside.params, "unknownparam" in outside.uri.params) == (True, False)
    assert ("unknownparam" in inside.params, "unknownparam" in inside.uri.params) == (False, True)
    (escaped,) = read("regescrt").contacts
    assert escaped.uri.headers == (("Route", "%3Csip:sip.example.com%3E"),)


def test_invite_of_rfc_2543():
    message = read("inv2543")
    assert (message.from_.tag, message.top_via.branch, message.max_forwards) == (None, "", None)
    assert message.record_routes[0].uri.params["maddr"] == "ss1.example.com"
    # Behind the brackets: the field's parameter. Without brackets: the field's as well.
    assert message.from_.uri.params["user"] == "phone"
    assert message.to.params["user"] == "phone"


def test_empty_reason_phrase_is_kept():
    message = read("noreason")
    assert isinstance(message, Response)
    assert message.reason == ""


# In a stream a message without Content-Length has no body, and one with trailing octets is followed by another.
WHOLE_IN_A_STREAM = [row[0] for row in PARSED if row[0] not in ("dblreq", "inv2543")]


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_valid_messages_are_cut_from_one_stream(step):
    sent = [octets(name) for name in WHOLE_IN_A_STREAM]
    stream, framer = b"".join(sent), StreamFramer()
    got = [item for at in range(0, len(stream), step) for item in framer.feed(stream[at : at + step])]
    assert got == sent
    assert framer.is_between


def test_two_requests_of_one_stream():
    first, _line_end, second, rest = StreamFramer().feed(octets("dblreq"))
    assert isinstance(parse(first), Request)
    assert len(parse(second).body) == 150
    # The second's Content-Length is too small: what is left of it is taken for the next message, and refused as such.
    with pytest.raises(BadMessage):
        parse(rest)
