"""TURN's bytes (RFC 8656): STUN messages of any method, ChannelData, and how both stand in a stream.

`stun.py` has the binding messages of ICE, which are many and plain; these are few and say more.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct

from harness.model.errors import RemoteProtocolError
from harness.protocols.stun import COOKIE, HEADER_BYTES, Address

CHANNEL_HEADER_BYTES = 4
# RFC 8656 12: the numbers that a client may bind.
FIRST_CHANNEL, LAST_CHANNEL = 0x4000, 0x4FFF
UDP = 17

_HEADER = Struct("!HHI12s")
_PAIR = Struct("!HH")
_UINT32 = Struct("!I")
_COOKIE_BYTES = _UINT32.pack(COOKIE)
_INTEGRITY_BYTES = 24


class Method(IntEnum):
    """RFC 8656 17; Binding is RFC 8489's."""

    BINDING = 1
    ALLOCATE = 3
    REFRESH = 4
    SEND = 6
    DATA = 7
    CREATE_PERMISSION = 8
    CHANNEL_BIND = 9


class Kind(IntEnum):
    """A message's class (RFC 8489 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Attribute(IntEnum):
    """Those that TURN uses (RFC 8489 18.3, RFC 8656 18)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020
    ALTERNATE_SERVER = 0x8023


@dataclass(slots=True)
class Message:
    """One parsed message, not authenticated yet; of an attribute that is there twice the first counts."""

    method: int
    kind: Kind
    # 12 bytes.
    transaction: bytes
    attributes: dict[int, bytes] = field(default_factory=dict)
    # Where MESSAGE-INTEGRITY begins, 0 = the message has none.
    integrity_at: int = 0

    @property
    def error(self) -> tuple[int, str]:
        """The code and the phrase of an error response; (0, "") when it says none."""
        value = self.attributes.get(Attribute.ERROR_CODE, b"")
        if len(value) < 4:
            return 0, ""
        return (value[2] & 7) * 100 + value[3], value[4:].decode(errors="replace").strip("\0 ")

    def address(self, attribute: Attribute) -> Address | None:
        """Return an XOR-ed address, None when it is missing or malformed."""
        value = self.attributes.get(attribute)
        return None if value is None else read_address(value, self.transaction)

    def number(self, attribute: Attribute) -> int | None:
        """Return a 32-bit number, None when it is missing or malformed."""
        value = self.attributes.get(attribute, b"")
        return int.from_bytes(value) if len(value) == 4 else None


def _type(method: int, kind: Kind) -> int:
    """RFC 8489 5: the class's two bits lie between those of the method."""
    return (method & 0xF) | ((kind & 1) << 4) | ((method & 0x70) << 1) | ((kind & 2) << 7) | ((method & 0xF80) << 2)


def parse(data: bytes) -> Message:
    """Return the STUN message in `data`; raises RemoteProtocolError when it is none."""
    if len(data) < HEADER_BYTES or data[0] > 0x3F or data[4:8] != _COOKIE_BYTES:
        raise RemoteProtocolError("not a STUN message")
    number, length, _cookie, transaction = _HEADER.unpack_from(data)
    if length + HEADER_BYTES != len(data) or length % 4:
        raise RemoteProtocolError(f"STUN message of {len(data)} bytes says it has {length + HEADER_BYTES}")
    method = (number & 0xF) | ((number >> 1) & 0x70) | ((number >> 2) & 0xF80)
    message = Message(method, Kind(((number >> 4) & 1) | ((number >> 7) & 2)), transaction)
    at = HEADER_BYTES
    while at + 4 <= len(data):
        attribute, size = _PAIR.unpack_from(data, at)
        begin, at = at + 4, at + 4 + ((size + 3) & ~3)
        if at > len(data):
            raise RemoteProtocolError(f"STUN attribute 0x{attribute:04x} is longer than its message")
        if attribute == Attribute.MESSAGE_INTEGRITY and size == 20:
            message.integrity_at = begin - 4
            # RFC 8489 14.5: what follows is not authenticated.
            break
        message.attributes.setdefault(attribute, data[begin : begin + size])
    return message


def is_authentic(message: Message, data: bytes, key: bytes) -> bool:
    """Tell whether `data`, parsed as `message`, was signed with `key`."""
    at = message.integrity_at
    if not at:
        return False
    length = (at + _INTEGRITY_BYTES - HEADER_BYTES).to_bytes(2)
    signature = hmac.digest(key, data[:2] + length + data[4:at], "sha1")
    return hmac.compare_digest(signature, data[at + 4 : at + _INTEGRITY_BYTES])


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """Return the key of RFC 8489 9.2.2; the MD5 there is the protocol's, and no secret's keeper."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).digest()


def pack(attribute: Attribute, value: bytes) -> bytes:
    """Return one attribute."""
    return _PAIR.pack(attribute, len(value)) + value + bytes(-len(value) % 4)


def pack_number(attribute: Attribute, value: int) -> bytes:
    """Return one attribute of 32 bits."""
    return pack(attribute, _UINT32.pack(value))


def pack_address(attribute: Attribute, address: Address, transaction: bytes) -> bytes:
    """Return an address, masked by the cookie and, IPv6, by the transaction (RFC 8489 14.2)."""
    host = ipaddress.ip_address(address[0].partition("%")[0]).packed
    family = 1 if len(host) == 4 else 2
    return pack(attribute, bytes((0, family)) + (address[1] ^ (COOKIE >> 16)).to_bytes(2) + _masked(host, transaction))


def read_address(value: bytes, transaction: bytes) -> Address | None:
    """Return the address that `pack_address` wrote, None when it is malformed."""
    if (len(value), value[1:2]) not in ((8, b"\x01"), (20, b"\x02")):
        return None
    return str(ipaddress.ip_address(_masked(value[4:], transaction))), int.from_bytes(value[2:4]) ^ (COOKIE >> 16)


def _masked(host: bytes, transaction: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(host, _COOKIE_BYTES + transaction, strict=False))


def build(method: Method, kind: Kind, transaction: bytes, attributes: bytes, key: bytes = b"") -> bytes:
    """Return a whole message, signed where there is a key."""
    if not key:
        return _HEADER.pack(_type(method, kind), len(attributes), COOKIE, transaction) + attributes
    head = _HEADER.pack(_type(method, kind), len(attributes) + _INTEGRITY_BYTES, COOKIE, transaction)
    return head + attributes + pack(Attribute.MESSAGE_INTEGRITY, hmac.digest(key, head + attributes, "sha1"))


# --- ChannelData, and streams ----------------------------------------------------------------------------------------


def is_channel_data(data: bytes) -> bool:
    """Tell ChannelData from STUN, DTLS and media by its first byte (RFC 7983)."""
    return len(data) >= CHANNEL_HEADER_BYTES and 64 <= data[0] < 80


def channel_data(channel: int, data: bytes) -> bytes:
    """Return `data` as it goes through a channel, not padded (RFC 8656 12.4)."""
    return _PAIR.pack(channel, len(data)) + data


def read_channel_data(frame: bytes) -> tuple[int, bytes]:
    """Return the channel and what came through it; raises RemoteProtocolError when it is cut short."""
    channel, length = _PAIR.unpack_from(frame)
    if CHANNEL_HEADER_BYTES + length > len(frame):
        raise RemoteProtocolError(f"ChannelData of {len(frame)} bytes says it holds {length}")
    return channel, frame[CHANNEL_HEADER_BYTES : CHANNEL_HEADER_BYTES + length]


def padded(frame: bytes) -> bytes:
    """Return a message or ChannelData as a stream needs it: in whole words (RFC 8656 12.5)."""
    return frame + bytes(-len(frame) % 4)


class StreamFramer:
    """Cuts what comes over TCP or TLS into messages and ChannelData."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what is complete, without padding; raises RemoteProtocolError when the stream is no TURN."""
        self._rest += data
        while len(self._rest) >= CHANNEL_HEADER_BYTES:
            length = int.from_bytes(self._rest[2:4])
            if self._rest[0] < 64:
                size = end = HEADER_BYTES + length
            elif self._rest[0] < 80:
                size = CHANNEL_HEADER_BYTES + length
                end = (size + 3) & ~3
            else:
                raise RemoteProtocolError(f"the stream holds a frame that begins with 0x{self._rest[0]:02x}: no TURN")
            if len(self._rest) < end:
                return
            frame = bytes(self._rest[:size])
            del self._rest[:end]
            yield frame
