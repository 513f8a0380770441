"""STUN binding messages as ICE uses them (RFC 8489, RFC 8445): bytes in, bytes out, some microseconds a message.

Only what connectivity and consent checks carry; every message is signed (MESSAGE-INTEGRITY) and fingerprinted.
"""

import hmac
import ipaddress
import zlib
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct

from harness.model.errors import RemoteProtocolError

Address = tuple[str, int]

COOKIE = 0x2112A442
HEADER_BYTES = 20
# RFC 8445 16.1: both sides claim the same role.
ROLE_CONFLICT = 487

_HEADER = Struct("!HHI12s")
_ATTRIBUTE = Struct("!HH")
_UINT16 = Struct("!H")
_UINT32 = Struct("!I")
_UINT64 = Struct("!Q")
_COOKIE_BYTES = _UINT32.pack(COOKIE)
_FINGERPRINT_XOR = 0x5354554E
_INTEGRITY_BYTES = 24
_FINGERPRINT_BYTES = 8

_USERNAME = 0x0006
_MESSAGE_INTEGRITY = 0x0008
_ERROR_CODE = 0x0009
_XOR_MAPPED_ADDRESS = 0x0020
_PRIORITY = 0x0024
_USE_CANDIDATE = 0x0025
_FINGERPRINT = 0x8028
_ICE_CONTROLLED = 0x8029
_ICE_CONTROLLING = 0x802A


class Kind(IntEnum):
    """Binding, in each of its classes."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    RESPONSE = 0x0101
    ERROR = 0x0111


_KINDS = {int(kind): kind for kind in Kind}


@dataclass(slots=True)
class Message:
    """One parsed binding message; not authenticated yet, see `is_authentic`."""

    kind: Kind
    # 12 bytes.
    transaction: bytes
    username: bytes = b""
    priority: int = 0
    use_candidate: bool = False
    # Tie-breaker of a sender in the controlling, or controlled, role.
    controlling: int | None = None
    controlled: int | None = None
    error_code: int | None = None
    # Where MESSAGE-INTEGRITY begins, 0 = the message has none.
    integrity_at: int = 0


def is_stun(data: bytes) -> bool:
    """Tell STUN from DTLS and SRTP (RFC 7983)."""
    return len(data) >= HEADER_BYTES and data[0] < 4 and data[4:8] == _COOKIE_BYTES


def parse(data: bytes) -> Message:
    """Return the binding message in `data`; raises RemoteProtocolError when it is none."""
    if not is_stun(data):
        raise RemoteProtocolError("not a STUN message")
    number, length, _cookie, transaction = _HEADER.unpack_from(data)
    kind = _KINDS.get(number)
    if kind is None:
        raise RemoteProtocolError(f"STUN message type 0x{number:04x} is no binding")
    if length + HEADER_BYTES != len(data) or length % 4:
        raise RemoteProtocolError(f"STUN message of {len(data)} bytes says it has {length + HEADER_BYTES}")
    message = Message(kind, transaction)
    _read_attributes(message, data)
    return message


def _read_attributes(message: Message, data: bytes) -> None:
    at, end = HEADER_BYTES, len(data)
    while at + 4 <= end:
        number, length = _ATTRIBUTE.unpack_from(data, at)
        begin, at = at + 4, at + 4 + ((length + 3) & ~3)
        if at > end:
            raise RemoteProtocolError(f"STUN attribute 0x{number:04x} is longer than its message")
        if number == _FINGERPRINT:
            _check_fingerprint(data, begin, length)
        elif message.integrity_at:
            # RFC 8489 14.5: what follows MESSAGE-INTEGRITY is not authenticated and must be ignored.
            continue
        elif number == _MESSAGE_INTEGRITY and length == 20:
            message.integrity_at = begin - 4
        else:
            _read_attribute(message, number, data, begin, length)


def _read_attribute(message: Message, number: int, data: bytes, begin: int, length: int) -> None:
    if number == _USERNAME:
        message.username = data[begin : begin + length]
    elif number == _PRIORITY and length == 4:
        message.priority = _UINT32.unpack_from(data, begin)[0]
    elif number == _USE_CANDIDATE:
        message.use_candidate = True
    elif number == _ICE_CONTROLLING and length == 8:
        message.controlling = _UINT64.unpack_from(data, begin)[0]
    elif number == _ICE_CONTROLLED and length == 8:
        message.controlled = _UINT64.unpack_from(data, begin)[0]
    elif number == _ERROR_CODE and length >= 4:
        message.error_code = (data[begin + 2] & 7) * 100 + data[begin + 3]


def _check_fingerprint(data: bytes, begin: int, length: int) -> None:
    if length != 4 or _UINT32.unpack_from(data, begin)[0] != zlib.crc32(data[: begin - 4]) ^ _FINGERPRINT_XOR:
        raise RemoteProtocolError("STUN fingerprint does not match")


def is_authentic(message: Message, data: bytes, key: bytes) -> bool:
    """Tell whether `data`, parsed as `message`, was signed with `key` (the ICE password of whom it is for)."""
    at = message.integrity_at
    if not at:
        return False
    length = _UINT16.pack(at + _INTEGRITY_BYTES - HEADER_BYTES)
    signature = hmac.digest(key, data[:2] + length + data[4:at], "sha1")
    return hmac.compare_digest(signature, data[at + 4 : at + _INTEGRITY_BYTES])


def seal(kind: Kind, transaction: bytes, attributes: bytes, key: bytes) -> bytes:
    """Return a whole message: `attributes` (already packed), signed with `key` and fingerprinted."""
    length = len(attributes)
    head = _HEADER.pack(kind, length + _INTEGRITY_BYTES, COOKIE, transaction)
    signature = hmac.digest(key, head + attributes, "sha1")
    head = _HEADER.pack(kind, length + _INTEGRITY_BYTES + _FINGERPRINT_BYTES, COOKIE, transaction)
    signed = head + attributes + b"\x00\x08\x00\x14" + signature
    return signed + b"\x80\x28\x00\x04" + _UINT32.pack(zlib.crc32(signed) ^ _FINGERPRINT_XOR)


def request_attributes(
    username: bytes, priority: int, tie_breaker: int, *, is_controlling: bool, use_candidate: bool
) -> bytes:
    """Return the attributes of a check: the same for every check of a pair, so they are packed once."""
    role = _ICE_CONTROLLING if is_controlling else _ICE_CONTROLLED
    return (
        _ATTRIBUTE.pack(_USERNAME, len(username))
        + username
        + bytes(-len(username) % 4)
        + _ATTRIBUTE.pack(_PRIORITY, 4)
        + _UINT32.pack(priority)
        + _ATTRIBUTE.pack(role, 8)
        + _UINT64.pack(tie_breaker)
        + (_ATTRIBUTE.pack(_USE_CANDIDATE, 0) if use_candidate else b"")
    )


def success(transaction: bytes, source: Address, key: bytes) -> bytes:
    """Return the answer to a check that came from `source`."""
    return seal(Kind.RESPONSE, transaction, _mapped(transaction, source), key)


def role_conflict(transaction: bytes, key: bytes) -> bytes:
    """Return the refusal of a check whose sender claims our role."""
    reason = b"Role Conflict"
    value = bytes((0, 0, ROLE_CONFLICT // 100, ROLE_CONFLICT % 100)) + reason
    attributes = _ATTRIBUTE.pack(_ERROR_CODE, len(value)) + value + bytes(-len(value) % 4)
    return seal(Kind.ERROR, transaction, attributes, key)


@lru_cache(maxsize=8192)
def _packed_ip(host: str) -> bytes:
    return ipaddress.ip_address(host.partition("%")[0]).packed


def _mapped(transaction: bytes, source: Address) -> bytes:
    """XOR-MAPPED-ADDRESS (RFC 8489 14.2): IPv4 is masked by the cookie, IPv6 by cookie and transaction."""
    host = _packed_ip(source[0])
    mask = (_COOKIE_BYTES + transaction)[: len(host)]
    masked = (int.from_bytes(host) ^ int.from_bytes(mask)).to_bytes(len(host))
    family = 1 if len(host) == 4 else 2
    return (
        _ATTRIBUTE.pack(_XOR_MAPPED_ADDRESS, 4 + len(host))
        + bytes((0, family))
        + _UINT16.pack(source[1] ^ (COOKIE >> 16))
        + masked
    )


def mapped_address(data: bytes) -> Address | None:
    """Return the XOR-MAPPED-ADDRESS of a response, None when it has none."""
    at = HEADER_BYTES
    while at + 4 <= len(data):
        number, length = _ATTRIBUTE.unpack_from(data, at)
        if number == _XOR_MAPPED_ADDRESS and length in (8, 20) and at + 4 + length <= len(data):
            port = _UINT16.unpack_from(data, at + 6)[0] ^ (COOKIE >> 16)
            host, mask = data[at + 8 : at + 4 + length], data[4:HEADER_BYTES]
            plain = bytes(a ^ b for a, b in zip(host, mask, strict=False))
            return str(ipaddress.ip_address(plain)), port
        at += 4 + ((length + 3) & ~3)
    return None
