"""TURN's bytes: RFC 5769's vector with long-term credentials, aioice's codec as the foreign end, frames in streams."""

import pytest
from aioice import stun as foreign

from harness.model.errors import RemoteProtocolError
from harness.protocols import turn_messages as wire
from harness.protocols.ice_urls import parse_server_url
from harness.protocols.turn_messages import Attribute, Kind, Method, StreamFramer

pytestmark = pytest.mark.unit

# RFC 5769 2.4; its password is "TheMatrIX" after SASLprep.
REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b900000015001c"
    "662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f72670000080014"
    "f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
USER, REALM = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")


def test_the_rfc_s_request_with_long_term_credentials_is_read_and_found_authentic():
    message = wire.parse(REQUEST)
    assert (message.method, message.kind) == (Method.BINDING, Kind.REQUEST)
    assert message.attributes[Attribute.USERNAME].decode() == USER
    assert message.attributes[Attribute.REALM].decode() == REALM
    assert wire.is_authentic(message, REQUEST, wire.long_term_key(USER, REALM, "TheMatrIX"))
    assert not wire.is_authentic(message, REQUEST, wire.long_term_key(USER, REALM, "TheMatrix"))


def test_the_rfc_s_request_is_written():
    attributes = b"".join(
        wire.pack(kind, value)
        for kind, value in [
            (Attribute.USERNAME, USER.encode()),
            (Attribute.NONCE, b"f//499k954d6OL34oL9FSTvy64sA"),
            (Attribute.REALM, REALM.encode()),
        ]
    )
    key = wire.long_term_key(USER, REALM, "TheMatrIX")
    transaction = bytes.fromhex("78ad3433c6ad72c029da412e")
    assert wire.build(Method.BINDING, Kind.REQUEST, transaction, attributes, key) == REQUEST


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("kind", list(Kind))
def test_aioice_reads_every_type_and_what_it_writes_is_read(method, kind):
    data = wire.build(method, kind, TRANSACTION, b"", b"key")
    theirs = foreign.parse_message(data)
    assert (theirs.message_method.name, theirs.transaction_id) == (method.name, TRANSACTION)
    assert theirs.message_class >> 4 in (0, 1, 0x10, 0x11)
    assert theirs.check_message_integrity(b"key")
    ours = wire.parse(bytes(theirs))
    assert (ours.method, ours.kind, ours.transaction) == (method, kind, TRANSACTION)


@pytest.mark.parametrize("address", [("192.0.2.1", 32853), ("2001:db8:1234:5678:11:2233:4455:6677", 32853)])
def test_aioice_reads_our_addresses_and_we_theirs(address):
    value = wire.pack_address(Attribute.XOR_PEER_ADDRESS, address, TRANSACTION)
    theirs = foreign.parse_message(wire.build(Method.CHANNEL_BIND, Kind.REQUEST, TRANSACTION, value))
    assert theirs.attributes["XOR-PEER-ADDRESS"] == address
    assert wire.parse(bytes(theirs)).address(Attribute.XOR_PEER_ADDRESS) == address


def test_errors_are_read():
    theirs = foreign.Message(Method.ALLOCATE, foreign.Class.ERROR, TRANSACTION, {"ERROR-CODE": (486, "Quota")})
    assert wire.parse(bytes(theirs)).error == (486, "Quota")
    assert wire.parse(wire.build(Method.ALLOCATE, Kind.ERROR, TRANSACTION, b"")).error == (0, "")


def test_malformed_values_are_none_and_not_guessed():
    attributes = wire.pack(Attribute.LIFETIME, b"\0") + wire.pack(Attribute.XOR_RELAYED_ADDRESS, b"\0\1\0")
    message = wire.parse(wire.build(Method.ALLOCATE, Kind.SUCCESS, TRANSACTION, attributes))
    assert message.number(Attribute.LIFETIME) is None
    assert message.address(Attribute.XOR_RELAYED_ADDRESS) is None
    assert message.address(Attribute.XOR_MAPPED_ADDRESS) is None


def test_what_follows_the_signature_is_not_believed():
    signed = wire.build(Method.REFRESH, Kind.SUCCESS, TRANSACTION, b"", b"key")
    forged = bytearray(signed + wire.pack_number(Attribute.LIFETIME, 7))
    forged[2:4] = (len(forged) - 20).to_bytes(2)
    message = wire.parse(bytes(forged))
    assert wire.is_authentic(message, bytes(forged), b"key")
    assert message.number(Attribute.LIFETIME) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:-1],
        REQUEST[:19],
        REQUEST[:4] + bytes(4) + REQUEST[8:],
        b"\x40" + REQUEST[1:],
        # An attribute that claims more than there is.
        wire.build(Method.REFRESH, Kind.SUCCESS, TRANSACTION, b"\x00\x0d\x00\x08\x00\x00\x00\x00"),
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(RemoteProtocolError):
        wire.parse(data)


# --- ChannelData and streams -----------------------------------------------------------------------------------------

FRAMES = [
    wire.channel_data(0x4001, b"12345"),
    wire.build(Method.REFRESH, Kind.REQUEST, TRANSACTION, b"", b"key"),
    wire.channel_data(0x4000, b""),
    wire.channel_data(0x4FFF, b"1234"),
]


def test_channel_data_is_written_and_read():
    assert FRAMES[0] == bytes.fromhex("40010005") + b"12345"
    assert wire.read_channel_data(FRAMES[0] + b"\0\0\0") == (0x4001, b"12345")
    with pytest.raises(RemoteProtocolError, match="says it holds 5"):
        wire.read_channel_data(FRAMES[0][:-1])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000])
def test_a_stream_is_cut_into_its_frames_however_it_comes(size):
    stream = b"".join(map(wire.padded, FRAMES))
    framer = StreamFramer()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [frame for piece in pieces for frame in framer.feed(piece)] == FRAMES


def test_a_stream_that_is_no_turn_is_refused():
    with pytest.raises(RemoteProtocolError, match="0x80"):
        list(StreamFramer().feed(b"\x80" * 8))


# --- where servers are -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("stun:stun.example.org", (False, "stun.example.org", 3478, "udp")),
        ("turn:192.0.2.1:80", (True, "192.0.2.1", 80, "udp")),
        ("turn:host?transport=tcp", (True, "host", 3478, "tcp")),
        ("turns:host", (True, "host", 5349, "tls")),
        ("turns:host:443?transport=tcp", (True, "host", 443, "tls")),
        ("turn:[2001:db8::1]:3479?transport=udp", (True, "2001:db8::1", 3479, "udp")),
    ],
)
def test_urls_say_where_and_how(text, where):
    url = parse_server_url(text)
    assert (url.is_turn, url.host, url.port, url.transport) == where
    assert url.text == text


@pytest.mark.parametrize(
    "text", ["", "http://host", "turn:", "turn://host", "turn:host:0", "turn:host:70000", "turns:host?transport=udp",
             "turn:host?transport=sctp", "stun:host?transport=tcp", "turn:user@host"],
)  # fmt: skip
def test_other_urls_are_refused_with_the_legal_ones(text):
    with pytest.raises(ValueError, match="legal: stun:host"):
        parse_server_url(text)
