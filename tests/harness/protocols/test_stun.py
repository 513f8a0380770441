"""STUN as ICE uses it: RFC 5769's vectors, aioice as the foreign end, and what must not pass."""

import pytest
from aioice import stun as foreign

from harness.model.errors import RemoteProtocolError
from harness.protocols import stun

pytestmark = pytest.mark.unit

# RFC 5769 2.1 to 2.3.
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249"
    "c1b571a280280004e57a3bcf"
)
RESPONSE_V4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_V6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
    "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
KEY = b"a" * 32


def request(**changes):
    settings = {"is_controlling": True, "use_candidate": True, **changes}
    attributes = stun.request_attributes(b"theirs:ours", 0x6E0001FF, 7, **settings)
    return stun.seal(stun.Kind.REQUEST, TRANSACTION, attributes, KEY)


def test_the_rfc_s_request_is_read_and_found_authentic():
    message = stun.parse(REQUEST)
    assert (message.kind, message.transaction) == (stun.Kind.REQUEST, TRANSACTION)
    assert message.username == b"evtj:h6vY"
    assert message.priority == 0x6E0001FF
    assert (message.controlled, message.controlling) == (0x932FF9B151263B36, None)
    assert not message.use_candidate
    assert stun.is_authentic(message, REQUEST, PASSWORD)
    assert not stun.is_authentic(message, REQUEST, b"another password of 22")


@pytest.mark.parametrize(
    ("data", "address"),
    [(RESPONSE_V4, ("192.0.2.1", 32853)), (RESPONSE_V6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_rfc_s_responses_are_read_and_written(data, address):
    assert stun.is_authentic(stun.parse(data), data, PASSWORD)
    assert stun.mapped_address(data) == address
    assert stun.mapped_address(stun.success(TRANSACTION, address, PASSWORD)) == address


def test_aioice_reads_our_check():
    theirs = foreign.parse_message(request())
    assert theirs.attributes["USERNAME"] == "theirs:ours"
    assert theirs.attributes["ICE-CONTROLLING"] == 7
    assert "USE-CANDIDATE" in theirs.attributes
    assert theirs.check_message_integrity(KEY)


def test_aioice_reads_our_answers():
    theirs = foreign.parse_message(stun.success(TRANSACTION, ("127.0.0.1", 9), KEY))
    assert theirs.attributes["XOR-MAPPED-ADDRESS"] == ("127.0.0.1", 9)
    assert theirs.check_message_integrity(KEY)
    refused = foreign.parse_message(stun.role_conflict(TRANSACTION, KEY))
    assert refused.error_code == stun.ROLE_CONFLICT
    assert stun.parse(stun.role_conflict(TRANSACTION, KEY)).error_code == stun.ROLE_CONFLICT


def test_what_follows_the_signature_is_not_believed():
    """RFC 8489 14.5: a USE-CANDIDATE behind MESSAGE-INTEGRITY could have been added on the way."""
    data = request(use_candidate=False)
    forged = bytearray(data[:-8] + b"\x00\x25\x00\x00")
    forged[3] -= 4
    message = stun.parse(bytes(forged))
    assert stun.is_authentic(message, bytes(forged), KEY)
    assert not message.use_candidate


# All but the type of FINGERPRINT: behind the signature an unknown attribute is ignored.
@pytest.mark.parametrize("at", [i for i in range(len(request())) if i - len(request()) not in (-8, -7)])
def test_a_changed_byte_is_noticed(at):
    data = bytearray(request())
    data[at] ^= 0x10
    try:
        message = stun.parse(bytes(data))
    except RemoteProtocolError:
        return
    assert not stun.is_authentic(message, bytes(data), KEY)


@pytest.mark.parametrize("length", range(len(REQUEST)))
def test_a_cut_message_is_refused(length):
    with pytest.raises(RemoteProtocolError):
        stun.parse(REQUEST[:length])


def test_a_message_without_a_signature_is_not_authentic():
    bare = bytes.fromhex("00010000") + REQUEST[4:20]
    assert not stun.is_authentic(stun.parse(bare), bare, b"")
