"""SIP URIs and structured header fields: Via, addresses, challenges, numbers."""

import pytest

from harness.model.errors import LocalProtocolError
from harness.protocols.sip.grammar import BadMessage, format_params, parse_params, quote, split_list, unquote
from harness.protocols.sip.headers import (
    CSeq,
    NameAddr,
    Via,
    format_auth,
    key_of,
    parse_auth,
    parse_auth_info,
    parse_cseq,
    parse_name_addr,
    parse_valued,
    parse_via,
)
from harness.protocols.sip.uri import build_uri, parse_uri

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "user", "password", "host", "port", "params"),
    [
        ("sip:h", None, None, "h", None, {}),
        ("SIPS:u:p@H.example:5061;Transport=TCP;lr", "u", "p", "H.example", 5061, {"transport": "TCP", "lr": None}),
        ("sip:[2001:db8::1]:5060", None, None, "[2001:db8::1]", 5060, {}),
        ("sip:*98#@10.0.0.1", "*98#", None, "10.0.0.1", None, {}),
        ("sip:+1-555;phone-context=x@h", "+1-555;phone-context=x", None, "h", None, {}),
        ("tel:+15551234;ext=9", "+15551234", None, "", None, {"ext": "9"}),
        ("urn:service:sos", None, None, "", None, {}),
    ],
)
def test_uri(text, user, password, host, port, params):
    uri = parse_uri(text)
    assert (uri.user, uri.password, uri.host, uri.port, dict(uri.params)) == (user, password, host, port, params)
    assert str(uri) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "h",
        "sip:@h",
        "sip:u@",
        "sip:u@h:0",
        "sip:u@h:70000",
        "sip:u@h:x",
        "sip:a@b@c",
        "sip:u%4@h",
        "sip:h;=x",
        "sip:h?x",
        "sip:h?=1",
        "sip:h?a=1&",
        "sip:u u@h",
        "sip:\x00@h",
        "sip:h>",
        "tel:",
        "1x:y",
        "sip:[::1",
        "sip:h\r\n",
    ],
)
def test_uri_refused(text):
    with pytest.raises(BadMessage):
        parse_uri(text)


def test_uri_for_a_socket_and_for_a_request():
    assert parse_uri("sip:[::1]").address == "::1"
    assert str(parse_uri("sip:u@h;method=INVITE;x=1?Route=y").for_request()) == "sip:u@h;x=1"
    assert str(build_uri("h", 5070, "u", params={"transport": "tcp", "lr": None})) == "sip:u@h:5070;transport=tcp;lr"
    with pytest.raises(LocalProtocolError):
        build_uri("h h")


# RFC 3261 19.1.4 and its examples.
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", True),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=a",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=a",
            True,
        ),
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next", False),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sip:bob@h", "sips:bob@h", False),
        ("tel:1", "tel:1", True),
    ],
)
def test_uri_comparison(one, other, same):
    assert parse_uri(one).matches(parse_uri(other)) is same
    assert parse_uri(other).matches(parse_uri(one)) is same


def test_address_reads_and_writes():
    value = parse_name_addr('"Bob \\"x\\" <y>" <sip:b@h;p=1>;tag=a=b;q="x;y"', "To")
    assert (value.display, value.tag, value.params["q"], value.uri.params) == ('Bob "x" <y>', "a=b", "x;y", {"p": "1"})
    assert str(value) == '"Bob \\"x\\" <y>" <sip:b@h;p=1>;tag="a=b";q="x;y"'
    assert str(NameAddr(parse_uri("sip:a"))) == "<sip:a>"
    assert parse_name_addr("Bob Smith <sip:b>").display == "Bob Smith"
    # Without brackets a parameter is the field's.
    assert parse_name_addr("sip:b@h;tag=2").tag == "2"


@pytest.mark.parametrize(
    "text", ["", "<>", "<sip:a", "sip:a>", '"x <sip:a>', "sip:a b", "a, b <sip:a>", "<sip:a> x", "<sip:a>;"]
)
def test_address_refused(text):
    with pytest.raises(BadMessage):
        parse_name_addr(text)


@pytest.mark.parametrize(
    ("text", "goes_to"),
    [
        ("SIP/2.0/UDP 10.0.0.1", ("10.0.0.1", 5060)),
        ("SIP/2.0/TLS h;branch=x", ("h", 5061)),
        ("SIP / 2.0 / udp 10.0.0.1 : 5070 ; received = 10.0.0.2", ("10.0.0.2", 5070)),
        ("SIP/2.0/UDP 10.0.0.1:5070;received=10.0.0.2;rport=4000", ("10.0.0.2", 4000)),
        ("SIP/2.0/UDP [::1]:5070;received=[::2];rport=4000", ("::2", 4000)),
        ("SIP/2.0/UDP 10.0.0.1:5070;maddr=224.0.1.75;received=10.0.0.2", ("224.0.1.75", 5070)),
        ("SIP/2.0/UDP 10.0.0.1:5070;received=10.0.0.2;rport=x", ("10.0.0.2", 5070)),
    ],
)
def test_via_says_where_the_answer_goes(text, goes_to):
    assert parse_via(text).answer_address() == goes_to


def test_via_is_stamped_as_rfc_3581_says():
    asked = parse_via("SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1")
    assert str(asked.stamped("10.0.0.1", 9)) == "SIP/2.0/UDP 10.0.0.1;rport=9;branch=z9hG4bK1;received=10.0.0.1"
    plain = parse_via("SIP/2.0/UDP [::1];branch=z9hG4bK1")
    assert plain.stamped("::1", 9) is plain
    assert str(plain.stamped("::2", 9)) == "SIP/2.0/UDP [::1];branch=z9hG4bK1;received=[::2]"
    assert asked.is_rfc3261
    assert not parse_via("SIP/2.0/UDP h;branch=z9hG4bK").is_rfc3261
    assert Via("UDP", "H", None, {}).sent_by == ("h", None)


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/2.0 h", "SIP/1.0/UDP h", "SIP/2.0/UDP h:0", "SIP/2.0/UDP h;;", "SIP/2.0/UDP h x"]
)
def test_via_refused(text):
    with pytest.raises(BadMessage):
        parse_via(text)


def test_cseq():
    assert parse_cseq("0002147483647\t BYE") == CSeq(2147483647, "BYE")
    for text in ("2147483648 BYE", "-1 BYE", "1", "1 B YE", "\u0661 BYE", "9" * 100_000 + " BYE"):
        with pytest.raises(BadMessage):
            parse_cseq(text)


def test_challenges_share_a_field_with_quoted_commas():
    text = 'Digest realm="a, \\"b", nonce=x==, qop="auth,auth-int", Basic , Bearer realm=r,Digest algorithm=MD5 ,'
    first, basic, bearer, last = parse_auth(text, "WWW-Authenticate")
    assert first.params == {"realm": 'a, "b', "nonce": "x==", "qop": "auth,auth-int"}
    assert (basic.scheme, dict(basic.params), bearer.params) == ("Basic", {}, {"realm": "r"})
    assert last.is_digest
    assert parse_auth("Bearer a.b-c_==, Basic", "Authorization")[0].params == {"token68": "a.b-c_=="}
    assert parse_auth_info('nextnonce="n", nc=00000001').params == {"nextnonce": "n", "nc": "00000001"}
    assert format_auth("Digest", {"realm": 'a"b'}, {"nc": "1"}) == 'Digest realm="a\\"b", nc=1'
    for bad in ("", " , ", '"x"', 'Digest realm="x', "=x"):
        with pytest.raises(BadMessage):
            parse_auth(bad, "WWW-Authenticate")


def test_value_with_parameters_and_comment():
    assert parse_valued("18000 (in a meeting; soon) ;duration=3600", "Retry-After") == ("18000", {"duration": "3600"})
    assert parse_valued("90;refresher=uac", "Session-Expires") == ("90", {"refresher": "uac"})
    with pytest.raises(BadMessage):
        parse_valued(";x", "Session-Expires")


def test_parameters():
    assert parse_params(' ; A = "x;y" ;b; a=2', "X") == {"a": "x;y", "b": None}
    assert format_params({"a": "x y", "b": None, "c": "[::1]", "d": ""}) == ';a="x y";b;c=[::1];d=""'
    assert unquote(quote('a"\\b')) == 'a"\\b'
    for bad in (";", ";;a", "a=1", ";a=", ";a=b c", ';a="b', ";a,b"):
        with pytest.raises(BadMessage):
            parse_params(bad, "X")


def test_lists():
    assert split_list("a, ,b,", "X") == ["a", "b"]
    assert split_list('"a,b" <c,d>, e', "X") == ['"a,b" <c,d>', "e"]
    for bad in ('a,"b', "a,<b"):
        with pytest.raises(BadMessage):
            split_list(bad, "X")


def test_names_of_fields():
    assert [key_of(name) for name in ("V", "CALL-id", "x-New")] == ["via", "call-id", "x-new"]
    assert [key_of(name) for name in ("", "a b", "a:")] == ["", "", ""]
