"""Header fields with a structure of their own (RFC 3261 section 20): addresses, Via, CSeq, challenges, numbers.

Each `parse_*` takes the value of one field, unfolded, and raises BadMessage naming the field and what is wrong.
"""

import re
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from harness.protocols.sip.grammar import (
    QUOTED,
    WORD,
    BadMessage,
    Params,
    format_params,
    is_token,
    parse_params,
    quote,
    shown,
    unquote,
)
from harness.protocols.sip.uri import HOST, Uri, parse_uri

_NONE: Params = MappingProxyType({})
_WS = r"[ \t]*"
_NAME_ADDR = re.compile(rf'({QUOTED}{_WS}|[^"<>,;]*)<([^<>]*)>{_WS}(;.*)?', re.DOTALL)
# Without brackets what follows a semicolon is the field's, and comma and question mark may not stand in the URI (20).
_ADDR_SPEC = re.compile(r'([^\s<>,;"?]+)[ \t]*(;.*)?', re.DOTALL)
_TAG_ONLY = re.compile(rf";tag=({WORD})")
_VIA = re.compile(
    rf"(?:SIP|sip){_WS}/{_WS}2\.0{_WS}/{_WS}({WORD})[ \t]+({HOST}){_WS}(?::{_WS}([0-9]{{1,5}}){_WS})?(;.*)?",
    re.DOTALL,
)
_CSEQ = re.compile(rf"([0-9]+)[ \t]+({WORD})")
_DIGITS = re.compile(r"[0-9]+")
_SEQUENCE_LIMIT = 1 << 31
_VALUED = re.compile(r"([^;()]*)(?:\([^()]*\)[ \t]*)?(;.*)?", re.DOTALL)
_AUTH_PARAM = re.compile(rf"[ \t,]*({WORD}){_WS}={_WS}({QUOTED}|[^\s,\"]+)", re.DOTALL)
_AUTH_SCHEME = re.compile(rf"[ \t,]*({WORD})(?=[ \t,]|$)(?!{_WS}=)")
# What Basic and Bearer have in place of parameters (RFC 7235 2.1).
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9\-._~+/]+=*)[ \t]*(?=,|$)")

# A call's messages repeat their addresses, Via and CSeq: what was read last is kept, for the calls being set up and not
# for all that are on. In a process of calls that come and go every cache is full some time: of this many it is 2 MB.
KEPT = 1024

# What makes a branch unique in space and time (RFC 3261 8.1.1.7).
MAGIC_COOKIE = "z9hG4bK"


class NameAddr(NamedTuple):
    """A display name, a URI and parameters: From, To, Contact, Route, Record-Route, Refer-To ..."""

    uri: Uri
    # Unquoted; "" = none.
    display: str = ""
    # Names in lower case, values unquoted, None = no value.
    params: Params = _NONE

    @property
    def tag(self) -> str | None:
        """The tag of a From or To."""
        return self.params.get("tag")

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri.text}>{format_params(self.params)}"


@lru_cache(KEPT)
def parse_name_addr(value: str, what: str = "address") -> NameAddr:
    """Return the name-addr or addr-spec in `value` (one of a list: see `grammar.split_list`)."""
    found = _NAME_ADDR.fullmatch(value)
    if found is not None:
        display, uri, tail = found.groups()
        display = unquote(display.strip(" \t"))
    else:
        found = _ADDR_SPEC.fullmatch(value)
        if found is None:
            raise BadMessage(f'{what}: {shown(value)} is not "name" <URI>;parameters')
        uri, tail = found.groups()
        display = ""
    if tail is None:
        return NameAddr(_uri_of(uri, what), display)
    tag = _TAG_ONLY.fullmatch(tail)
    params: Params = {"tag": tag[1]} if tag else parse_params(tail, what)
    return NameAddr(_uri_of(uri, what), display, params)


def _uri_of(text: str, what: str) -> Uri:
    try:
        return parse_uri(text)
    except BadMessage as error:
        raise BadMessage(f"{what}: {error.reason}") from error


class Via(NamedTuple):
    """One hop of the way back (RFC 3261 20.42, RFC 3581)."""

    # Upper case: UDP, TCP, TLS, WS ...
    transport: str
    # As written; IPv6 in brackets.
    host: str
    port: int | None
    # Names in lower case.
    params: Params

    @property
    def branch(self) -> str:
        """The branch parameter, "" where there is none (RFC 2543)."""
        return self.params.get("branch") or ""

    @property
    def is_rfc3261(self) -> bool:
        """Whether the branch identifies the transaction: magic cookie and something behind it."""
        branch = self.branch
        return len(branch) > len(MAGIC_COOKIE) and branch.startswith(MAGIC_COOKIE)

    @property
    def sent_by(self) -> tuple[str, int | None]:
        """Host in lower case, and port if one was given: as transactions compare it (RFC 3261 17.2.3)."""
        return self.host.lower(), self.port

    @property
    def received(self) -> str | None:
        """The address the request came from, where the next hop wrote it down; IPv6 without brackets."""
        value = self.params.get("received")
        return value.strip("[]") if value else None

    @property
    def wants_rport(self) -> bool:
        """Whether the sender asks for the answer at the port it sent from (RFC 3581)."""
        return "rport" in self.params

    @property
    def rport(self) -> int | None:
        """The port the request came from, where the next hop wrote it down."""
        value = self.params.get("rport")
        return int(value) if value and value.isascii() and value.isdecimal() and len(value) <= 5 else None

    def stamped(self, address: str, port: int) -> "Via":
        """Return this Via as the server keeps it for a request from there: `received`, and `rport` if asked for.

        RFC 3261 18.2.1, RFC 3581 section 4.
        """
        differs = address != self.host.strip("[]")
        if not differs and "rport" not in self.params:
            return self
        params = dict(self.params)
        params["received"] = f"[{address}]" if ":" in address else address
        if "rport" in params:
            params["rport"] = str(port)
        return Via(self.transport, self.host, self.port, params)

    def answer_address(self) -> tuple[str, int]:
        """Where a response goes without a connection to go back on (RFC 3261 18.2.2, RFC 3581): host, port."""
        maddr = self.params.get("maddr")
        if maddr:
            return maddr.strip("[]"), self.port or self.default_port
        if self.received is not None:
            return self.received, self.rport or self.port or self.default_port
        return self.host.strip("[]"), self.port or self.default_port

    @property
    def default_port(self) -> int:
        """5061 with TLS, else 5060."""
        return 5061 if self.transport in ("TLS", "WSS") else 5060

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_params(self.params)}"


@lru_cache(KEPT)
def parse_via(value: str) -> Via:
    """Return one Via (of a list: see `grammar.split_list`)."""
    found = _VIA.fullmatch(value)
    if found is None:
        raise BadMessage(f"Via: {shown(value)} is not SIP/2.0/transport host:port;parameters")
    transport, host, port, tail = found.groups()
    if port is not None and not 0 < int(port) < 65536:
        raise BadMessage(f"Via: port {port}; legal: 1 to 65535")
    params: Params = parse_params(tail, "Via") if tail else _NONE
    return Via(transport.upper(), host, int(port) if port else None, params)


class CSeq(NamedTuple):
    """Number and method of a request, and of the response to it."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@lru_cache(KEPT)
def parse_cseq(value: str) -> CSeq:
    """Return the CSeq; its number must be below 2^31 (RFC 3261 8.1.1.5)."""
    found = _CSEQ.fullmatch(value)
    if found is None:
        raise BadMessage(f"CSeq: {shown(value)} is not a number and a method")
    return CSeq(_below("CSeq", found[1], _SEQUENCE_LIMIT), found[2])


def parse_number(value: str, what: str, limit: int = 1 << 32) -> int:
    """Return a decimal number below `limit`; leading zeros are legal, a sign is not."""
    if _DIGITS.fullmatch(value) is None:
        raise BadMessage(f"{what}: {shown(value)} is no number")
    return _below(what, value, limit)


def _below(what: str, digits: str, limit: int) -> int:
    # The length first: the time int() takes grows with its square.
    number = int(digits) if len(digits) < 20 else int(digits.lstrip("0")[:20] or "0")
    if number >= limit:
        raise BadMessage(f"{what}: {digits[:24]} is too large; legal: below {limit}")
    return number


class Valued(NamedTuple):
    """A value and its parameters: Content-Type, Session-Expires, Retry-After, Reason, Event, Accept ..."""

    value: str
    params: Params


def parse_valued(value: str, what: str) -> Valued:
    """Return `value;name=value...`; a comment in parentheses behind the value is left out (Retry-After)."""
    found = _VALUED.fullmatch(value)
    if found is None or not found[1].strip(" \t"):
        raise BadMessage(f"{what}: {shown(value)} is not a value and its parameters")
    head, tail = found.groups()
    return Valued(head.strip(" \t"), parse_params(tail, what) if tail else _NONE)


class Auth(NamedTuple):
    """A challenge or credentials: WWW-Authenticate, Proxy-Authenticate, Authorization, Authentication-Info ..."""

    # As written: Digest, Bearer ...; "" in Authentication-Info.
    scheme: str
    # Names in lower case, values unquoted; `token68` is what Basic and Bearer have instead.
    params: Params

    @property
    def is_digest(self) -> bool:
        """The one scheme SIP has in use (RFC 8760)."""
        return self.scheme.lower() == "digest"


def parse_auth(value: str, what: str) -> list[Auth]:
    """Return the challenges in one field: several may share it (RFC 7235)."""
    found = []
    at, end = 0, len(value.rstrip(" \t,"))
    while at < end:
        scheme = _AUTH_SCHEME.match(value, at)
        if scheme is None:
            raise BadMessage(f"{what}: no scheme at {shown(value[at:])}")
        at = scheme.end()
        if (whole := _TOKEN68.match(value, at)) is not None:
            found.append(Auth(scheme[1], {"token68": whole[1]}))
            at = whole.end()
            continue
        params, at = _auth_params(value, at, what)
        found.append(Auth(scheme[1], params))
    if not found:
        raise BadMessage(f"{what} is empty")
    return found


def parse_auth_info(value: str, what: str = "Authentication-Info") -> Auth:
    """Return the parameters of a field without a scheme (RFC 7615)."""
    params, at = _auth_params(value, 0, what)
    if at < len(value.rstrip(" \t,")):
        raise BadMessage(f"{what}: no parameter at {shown(value[at:])}")
    return Auth("", params)


def _auth_params(value: str, at: int, what: str) -> tuple[dict[str, str | None], int]:
    params: dict[str, str | None] = {}
    while (found := _AUTH_PARAM.match(value, at)) is not None:
        name = found[1].lower()
        if name in params:
            raise BadMessage(f"{what}: parameter {shown(name)} is given twice")
        params[name] = unquote(found[2])
        at = found.end()
    return params, at


def format_auth(scheme: str, quoted: Params, plain: Params) -> str:
    """Return a challenge or credentials; which values go in quotes is RFC 7616's matter, so the caller's."""
    parts = [f"{name}={quote(value or '')}" for name, value in quoted.items()]
    parts += [f"{name}={value}" for name, value in plain.items()]
    return f"{scheme} {', '.join(parts)}" if scheme else ", ".join(parts)


# Compact forms: RFC 3261 7.3.3 and IANA's registry; keys and values in lower case.
COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to", "s": "subject",
    "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip


@lru_cache(1024)
def key_of(name: str) -> str:
    """Return the name a header field is found by, long form and lower case; "" for what can name no field."""
    lower = name.lower()
    return COMPACT.get(lower, lower) if is_token(name) else ""
