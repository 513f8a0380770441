"""URIs in SIP (RFC 3261 section 19.1, RFC 3966 tel, any other scheme as opaque text).

Lenient: hosts such as `node1` or `my_host`, users such as `*98#`; nothing is unescaped, `text` is what was received.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from harness.model.errors import LocalProtocolError
from harness.protocols.sip.grammar import BadMessage, Params, shown

HOST = r"\[[0-9A-Fa-f:.]+(?:%[\w.\-]+)?\]|[A-Za-z0-9_.\-]+"

_EMPTY: Mapping[str, str | None] = MappingProxyType({})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_ILLEGAL = re.compile(r'[\s<>"\x00-\x1f\x7f]')
_SIP = re.compile(rf"[sS][iI][pP][sS]?:(?:([^@:]+)(?::([^@]*))?@)?({HOST})(?::([0-9]{{1,5}}))?(;[^?]*)?(?:\?(.*))?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CACHED = 4096

# RFC 3261 19.1.1, table 1: what may not stand in a Request-URI.
_NOT_IN_REQUEST = ("method", "ttl")


@dataclass(frozen=True, slots=True)
class Uri:
    """One URI. Two are equal when their texts are; `matches` compares as RFC 3261 19.1.4 says."""

    # As received or built; what goes on the wire.
    text: str
    # Lower case.
    scheme: str = field(compare=False)
    # sip, sips: user and password as written (escapes kept), None = none; tel: user is the number.
    user: str | None = field(default=None, compare=False)
    password: str | None = field(default=None, compare=False)
    # sip, sips: a name or address, IPv6 in brackets; "" in other schemes.
    host: str = field(default="", compare=False)
    port: int | None = field(default=None, compare=False)
    # Names in lower case, values as written, None = no value.
    params: Params = field(default_factory=lambda: _EMPTY, compare=False)
    # What stands behind `?`: names and values as written (escapes kept).
    headers: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def is_sip(self) -> bool:
        """Whether the scheme is sip or sips."""
        return self.scheme in ("sip", "sips")

    @property
    def address(self) -> str:
        """The host without the brackets of an IPv6 address: what a socket takes."""
        return self.host[1:-1] if self.host[:1] == "[" else self.host

    @property
    def is_loose(self) -> bool:
        """Whether a route of this URI is a loose router (`;lr`)."""
        return "lr" in self.params

    def for_request(self) -> "Uri":
        """Return this URI as it may stand in a Request-URI: without headers, `method` and `ttl`."""
        if not self.is_sip or not (self.headers or any(name in self.params for name in _NOT_IN_REQUEST)):
            return self
        kept = {name: value for name, value in self.params.items() if name not in _NOT_IN_REQUEST}
        return build_uri(self.host, self.port, self.user, self.password, scheme=self.scheme, params=kept)

    def matches(self, other: "Uri") -> bool:
        """Compare as RFC 3261 19.1.4 does; schemes other than sip and sips by their text."""
        if self.scheme != other.scheme or not self.is_sip:
            return self.text == other.text
        return (
            _unescaped(self.user) == _unescaped(other.user)
            and _unescaped(self.password) == _unescaped(other.password)
            and self.host.lower() == other.host.lower()
            and self.port == other.port
            and _params_match(self.params, other.params)
            and sorted((n.lower(), _unescaped(v)) for n, v in self.headers)
            == sorted((n.lower(), _unescaped(v)) for n, v in other.headers)
        )


# Parameters that must be in both URIs or in neither (RFC 3261 19.1.4).
_MUST_BE_IN_BOTH = ("user", "ttl", "method", "maddr", "transport")


def _params_match(a: Params, b: Params) -> bool:
    if any((name in a) != (name in b) for name in _MUST_BE_IN_BOTH):
        return False
    return all(
        (_unescaped(value) or "").lower() == (_unescaped(b[n]) or "").lower() for n, value in a.items() if n in b
    )


def _unescaped(text: str | None) -> str | None:
    if text is None or "%" not in text:
        return text
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text)


def build_uri(
    host: str,
    port: int | None = None,
    user: str | None = None,
    password: str | None = None,
    *,
    scheme: str = "sip",
    params: Params | None = None,
) -> Uri:
    """Return a sip or sips URI of these parts (already escaped); LocalProtocolError when they make none."""
    credentials = "" if user is None else f"{user}@" if password is None else f"{user}:{password}@"
    tail = "".join(f";{n}" if v is None else f";{n}={v}" for n, v in (params or _EMPTY).items())
    text = f"{scheme}:{credentials}{host}{'' if port is None else f':{port}'}{tail}"
    try:
        return parse_uri(text)
    except BadMessage as error:
        raise LocalProtocolError(f"no URI of our own making: {error.reason}") from error


@lru_cache(_CACHED)
def parse_uri(text: str) -> Uri:
    """Return the URI in `text`; BadMessage says what is wrong with it. URIs met before come from a cache."""
    if _ILLEGAL.search(text):
        raise BadMessage(f"URI {shown(text)} holds white space, quotes or angle brackets")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise BadMessage(f"URI {shown(text)} has no scheme")
    name = scheme[1].lower()
    if name in ("sip", "sips"):
        return _parse_sip(text, name)
    if scheme.end() == len(text):
        raise BadMessage(f"URI {shown(text)} is a scheme and nothing else")
    if name == "tel":
        number, semicolon, rest = text[scheme.end() :].partition(";")
        return Uri(text, name, user=number, params=_params(semicolon + rest, text))
    return Uri(text, name)


def _parse_sip(text: str, scheme: str) -> Uri:
    found = _SIP.fullmatch(text)
    if found is None:
        raise BadMessage(f"URI {shown(text)} is not {scheme}:user@host:port;parameters?headers")
    if "%" in text and _BAD_ESCAPE.search(text):
        raise BadMessage(f"URI {shown(text)}: a % must be followed by two hexadecimal digits")
    user, password, host, port, params, headers = found.groups()
    if port is not None and not 0 < int(port) < 65536:
        raise BadMessage(f"URI {shown(text)}: port {port}; legal: 1 to 65535")
    return Uri(
        text,
        scheme,
        user,
        password,
        host,
        int(port) if port else None,
        _params(params, text) if params else _EMPTY,
        _headers(headers, text) if headers is not None else (),
    )


def _params(text: str, uri: str) -> Params:
    params: dict[str, str | None] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if name:
            params.setdefault(name.lower(), value if equals else None)
        elif equals:
            raise BadMessage(f"URI {shown(uri)}: a parameter has no name")
    return MappingProxyType(params)


def _headers(text: str, uri: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise BadMessage(f"URI {shown(uri)}: behind `?` must stand name=value, joined by &")
        headers.append((name, value))
    return tuple(headers)
