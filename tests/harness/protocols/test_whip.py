"""WHIP's headers and fragments, as RFC 9725 and RFC 8840 write them and as servers do."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import RemoteProtocolError
from harness.model.plan import IceServer
from harness.protocols import whip
from harness.protocols.whip import Fragment

pytestmark = pytest.mark.unit

# RFC 9725 4.6.
RFC_LINKS = (
    '<stun:stun.example.net>; rel="ice-server"',
    '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="myPassword"',
)


def test_the_links_of_the_rfc():
    assert whip.ice_servers(RFC_LINKS) == (
        IceServer(("stun:stun.example.net",)),
        IceServer(("turn:turn.example.net?transport=udp",), "user", "myPassword"),
    )


def test_links_in_one_header_with_everything_that_is_legal_there():
    header = (
        r'</x>; rel=next , <turn:t:3478>;REL="foo ICE-SERVER" ; Username="a, b; \"c\"";credential=x;flag, '
        '<turns:[::1]:5349>; rel=ice-server; username=u; username=second; credential=""'
    )
    assert whip.ice_servers([header]) == (
        IceServer(("turn:t:3478",), 'a, b; "c"', "x"),
        IceServer(("turns:[::1]:5349",), "u", ""),
    )


@pytest.mark.parametrize(
    "header", ["", "x", "<", "<stun:s", '<stun:s>; rel="ice-server', "<stun:s>", "<http://h>; rel=ice-server", ",,,"]
)
def test_what_names_no_server(header):
    assert whip.ice_servers([header]) == ()


def test_a_call_asks_some_servers_and_not_thousands():
    assert len(whip.ice_servers([", ".join(["<stun:s>; rel=ice-server"] * 1000)])) == 16


@given(st.text())
def test_no_header_breaks_the_reader(header):
    whip.ice_servers([header])


def test_a_fragment_is_what_the_rfc_shows():
    fragment = Fragment("EsAw", "P2uY", ("candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host",), is_complete=True)
    assert whip.build_fragment(fragment, ["0", "1"]).split("\r\n") == [
        "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "a=mid:0",
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uY",
        "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host",
        "a=end-of-candidates",
        "",
    ]


TOKEN = st.text("abcdef0123456789+/", min_size=1, max_size=20)


@given(st.builds(Fragment, TOKEN, TOKEN, st.lists(TOKEN.map(lambda t: f"candidate:{t}")).map(tuple), st.booleans()))
def test_what_was_built_is_read_again(fragment):
    assert whip.parse_fragment(whip.build_fragment(fragment, ["0"]).encode()) == fragment


@given(st.binary())
def test_any_bytes_are_a_fragment_or_refused(body):
    with contextlib.suppress(RemoteProtocolError):
        assert whip.parse_fragment(body).ufrag


def test_a_fragment_without_an_account_or_with_too_much_is_refused():
    with pytest.raises(RemoteProtocolError, match="no a=ice-ufrag or a=ice-pwd"):
        whip.parse_fragment(b"a=ice-ufrag:x\r\n")
    with pytest.raises(RemoteProtocolError, match="lines, more than"):
        whip.parse_fragment(b"\n" * 501)
