"""The answer to a request that could not be read (RFC 3261 8.2, 18.2.1): stateless, from what was read of it."""

import zlib

from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.headers import key_of, parse_via
from harness.protocols.sip.message import Header, Response

_PHRASE_CHARACTERS = 120


def refusal(error: BadMessage, address: str, port: int) -> Response | None:
    """Return the answer to the request that came from there and made `error`; None where none may be sent.

    It goes back to that very address. The reason phrase says what is wrong.
    """
    if error.status is None:
        return None
    headers: list[Header] = []
    for name, value in error.headers:
        key = key_of(name)
        if key == "via" and not headers:
            headers.append((name, _stamped(value, address, port)))
        elif key == "to" and "tag" not in value.lower():
            headers.append((name, f"{value};tag={_tag(error.headers)}"))
        else:
            headers.append((name, value))
    phrase = "".join(c if c.isprintable() and c.isascii() else "?" for c in error.reason[:_PHRASE_CHARACTERS])
    return Response(error.status, phrase, headers)


def _tag(headers: list[Header]) -> str:
    """Return the same tag for the same request each time, as a stateless server must (RFC 3261 8.2.7)."""
    return f"{zlib.crc32(repr(headers).encode()):08x}"


def _stamped(value: str, address: str, port: int) -> str:
    first, comma, rest = value.partition(",")
    try:
        return str(parse_via(first.strip(" \t")).stamped(address, port)) + comma + rest
    except BadMessage:
        return value
