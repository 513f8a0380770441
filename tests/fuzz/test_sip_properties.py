"""What is written is read again as it was meant, whatever the names and values are."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.protocols.sip.framing import StreamFramer
from harness.protocols.sip.grammar import format_params, parse_params, quote, split_list, unquote
from harness.protocols.sip.headers import NameAddr, Via, format_auth, key_of, parse_auth, parse_name_addr, parse_via
from harness.protocols.sip.message import Request, Response, serialise
from harness.protocols.sip.reading import parse
from harness.protocols.sip.uri import build_uri, parse_uri

pytestmark = pytest.mark.unit

tokens = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
names = tokens.map(str.lower)
# Anything that can stand in a header field; octets that are no UTF-8 come as lone surrogates.
characters = st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)) | st.sampled_from("\udc80\udcff")
texts = st.text(characters, max_size=20)
params = st.dictionaries(names, st.none() | texts, max_size=4)
hosts = st.sampled_from(["h", "node1", "a.example", "127.0.0.1", "[::1]", "my_host"])
ports = st.none() | st.integers(1, 65_535)
users = st.none() | st.text(string.ascii_letters + string.digits + "-_.!~*'()&=+$,;?/#", min_size=1, max_size=10)
plain = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
uri_params = st.dictionaries(plain.map(str.lower), st.none() | plain, max_size=3)
uris = st.builds(build_uri, hosts, ports, users, scheme=st.sampled_from(["sip", "sips"]), params=uri_params)


@given(texts)
def test_quoted_strings(text):
    assert unquote(quote(text)) == text
    assert split_list(f"{quote(text)},<{quote(text)}>" if ">" not in text else f"{quote(text)},b", "X")[0] == quote(
        text
    )


@given(params)
def test_parameters(given_params):
    assert parse_params(format_params(given_params), "X") == given_params


@given(uris)
def test_uris(uri):
    again = parse_uri(str(uri))
    assert again == uri
    assert again.matches(uri)
    assert (again.host, again.port, again.user, dict(again.params)) == (uri.host, uri.port, uri.user, dict(uri.params))


@given(uris, texts, params)
def test_addresses(uri, display, given_params):
    address = NameAddr(uri, display, given_params)
    assert parse_name_addr(str(address)) == address


@given(st.sampled_from(["UDP", "TCP", "TLS", "WSS"]), hosts, ports, params)
def test_vias(transport, host, port, given_params):
    via = Via(transport, host, port, given_params)
    assert parse_via(str(via)) == via
    stamped = parse_via(str(via.stamped("192.0.2.9", 4000)))
    assert stamped.received == "192.0.2.9" or "received" not in stamped.params
    if "rport" in given_params:
        assert stamped.rport == 4000


@given(st.lists(st.dictionaries(names, texts, min_size=1, max_size=4), min_size=1, max_size=3))
def test_challenges(given_challenges):
    field = ", ".join(format_auth("Digest", challenge, {}) for challenge in given_challenges)
    assert [auth.params for auth in parse_auth(field, "X")] == given_challenges


fields = st.lists(
    st.tuples(
        tokens.filter(
            lambda name: key_of(name) not in {"via", "from", "to", "call-id", "cseq", "max-forwards", "content-length"}
        ),
        texts.map(lambda text: text.strip(" \t")),
    ),
    max_size=6,
)
ROUTING = [
    ("v", "SIP/2.0/UDP h;branch=z9hG4bK1"),
    ("f", "<sip:a@h>;tag=1"),
    ("t", "<sip:b@h>"),
    ("i", "c"),
    ("CSeq", "1 FOO"),
]


@settings(max_examples=200)
@given(fields, st.binary(max_size=60), st.sampled_from([Request("FOO", "sip:h", ()), Response(200, "OK ä", ())]))
def test_messages(extra, body, kind):
    headers = [*ROUTING, *extra]
    if isinstance(kind, Request):
        message = Request(kind.method, kind.uri_text, headers, body)
    else:
        message = Response(kind.status, kind.reason, headers, body)
    octets = serialise(message)
    again = parse(octets)
    assert again.start_line() == message.start_line()
    assert again.headers == [*headers, ("Content-Length", str(len(body)))]
    assert again.body == body
    assert StreamFramer().feed(octets * 2) == [octets, octets]
