"""SIP messages: tolerant in, strict out (RFC 3261 sections 7, 18.3, 20).

`parse` reads what routes a message (start line, Via, From, To, Call-ID, CSeq, Content-Length) and refuses one whose
routing is broken; every other field is read when asked for, and raises BadMessage then. `check.check` reads them all.
Tolerated: folded fields, bare LF, white space before a colon, compact and oddly cased names, octets that are no UTF-8.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, overload

from harness.model.errors import LocalProtocolError
from harness.protocols.sip.grammar import BadMessage, is_name, is_token, shown, split_list
from harness.protocols.sip.headers import (
    Auth,
    CSeq,
    NameAddr,
    Valued,
    Via,
    key_of,
    parse_auth,
    parse_cseq,
    parse_name_addr,
    parse_number,
    parse_valued,
    parse_via,
)
from harness.protocols.sip.status import reason_of
from harness.protocols.sip.uri import Uri, parse_uri

__all__ = ["BadMessage", "Header", "Message", "Request", "Response", "parse", "serialise"]

# Name as written, value without the white space around it and unfolded.
Header = tuple[str, str]

VERSION = "SIP/2.0"

_END = re.compile(rb"\r?\n\r?\n")
# Both run in a time that grows with the text, not with its square.
_FOLD = re.compile(r"\n[ \t]+")
_SPACED_NAME = re.compile(r"^([^:\s]+)[ \t]+:", re.MULTILINE)
_REQUEST_LINE = re.compile(r"(\S+) (\S+) (\S+)")
_STATUS_LINE = re.compile(r"(\S+) ([0-9]{3})(?: (.*))?", re.DOTALL)
_LONE_CR = re.compile(r"\r(?!\n)")
_IS_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
# Enough of a Via for the sender to know its own again.
_VIA_BEGINS = re.compile(r"SIP[ \t]*/[ \t]*[0-9.]+[ \t]*/[ \t]*\S+[ \t]+\S", re.IGNORECASE)
# Fields of which two make a message ambiguous (RFC 4475 3.3.8).
_ONCE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length")
_ANSWERED = ("via", "from", "to", "call-id", "cseq")


class Message:
    """What requests and responses share. Not changed after construction: build another."""

    __slots__ = ("_cseq", "_first", "_from", "_repeated", "_to", "_via", "body", "headers")

    def __init__(self, headers: Sequence[Header], body: bytes = b"") -> None:
        # In order, names as written.
        self.headers = headers
        self.body = body
        # Of each name the first value, and the names that occur again.
        self._first: dict[str, str] | None = None
        self._repeated: Collection[str] = ()
        self._via: Via | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._cseq: CSeq | None = None

    def get(self, name: str) -> str | None:
        """Return the first field of that name (any case, long or compact form), None = none."""
        return self._fields().get(key_of(name))

    def get_all(self, name: str) -> list[str]:
        """Return every field of that name, in order, comma lists not split."""
        key = key_of(name)
        first = self._fields().get(key)
        if first is None:
            return []
        if key not in self._repeated:
            return [first]
        return [value for written, value in self.headers if key_of(written) == key]

    def names(self) -> Collection[str]:
        """Return the names of the fields there are: long form, lower case, each once."""
        return self._fields().keys()

    def values(self, name: str) -> list[str]:
        """Return every value of a field that is a comma list, in order."""
        return [value for line in self.get_all(name) for value in split_list(line, name)]

    def tokens(self, name: str) -> set[str]:
        """Return the values of a list of words in lower case: Supported, Require ..."""
        return {value.lower() for value in self.values(name)}

    def _fields(self) -> dict[str, str]:
        if self._first is None:
            self._first, self._repeated = _index(self.headers)
        return self._first

    def _must(self, key: str, name: str) -> str:
        value = self._fields().get(key)
        if not value:
            raise BadMessage(f"{name} is missing")
        return value

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self._must("call-id", "Call-ID")

    @property
    def cseq(self) -> CSeq:
        """CSeq."""
        if self._cseq is None:
            self._cseq = parse_cseq(self._must("cseq", "CSeq"))
        return self._cseq

    @property
    def from_(self) -> NameAddr:
        """From."""
        if self._from is None:
            self._from = parse_name_addr(self._must("from", "From"), "From")
        return self._from

    @property
    def to(self) -> NameAddr:
        """To."""
        if self._to is None:
            self._to = parse_name_addr(self._must("to", "To"), "To")
        return self._to

    @property
    def top_via(self) -> Via:
        """The first Via: of the transaction, and of the hop that sent a request."""
        if self._via is None:
            value = self._must("via", "Via")
            if "," in value:
                value = next(iter(split_list(value, "Via")), "")
            self._via = parse_via(value)
        return self._via

    @property
    def vias(self) -> list[Via]:
        """Every Via, the latest hop first."""
        return [parse_via(value) for value in self.values("via")]

    @property
    def contacts(self) -> list[NameAddr]:
        """Every Contact; empty for `Contact: *` (see `is_contact_star`)."""
        return [] if self.is_contact_star else self._addresses("contact", "Contact")

    @property
    def is_contact_star(self) -> bool:
        """Whether a REGISTER asks for every binding to go (RFC 3261 10.2.2)."""
        return self.get("contact") == "*"

    @property
    def routes(self) -> list[NameAddr]:
        """Route, the next hop first."""
        return self._addresses("route", "Route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """Record-Route, in the order received."""
        return self._addresses("record-route", "Record-Route")

    def _addresses(self, key: str, name: str) -> list[NameAddr]:
        return [parse_name_addr(value, name) for line in self.get_all(key) for value in split_list(line, name)]

    def address(self, name: str) -> NameAddr | None:
        """Return a field of one address: Refer-To, Referred-By, Reply-To ..."""
        value = self.get(name)
        return None if value is None else parse_name_addr(value, name)

    def number(self, name: str) -> int | None:
        """Return a field of one number: Expires, Min-Expires, RSeq, Max-Forwards ..., None = none."""
        value = self.get(name)
        return None if value is None else parse_number(value, name)

    def valued(self, name: str) -> Valued | None:
        """Return a field of a value and parameters: Content-Type, Session-Expires, Retry-After, Event ..."""
        value = self.get(name)
        return None if value is None else parse_valued(value, name)

    def auths(self, name: str) -> list[Auth]:
        """Return every challenge, or every credentials, of fields of that name."""
        return [auth for value in self.get_all(name) for auth in parse_auth(value, name)]

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, "" = none given."""
        found = self.valued("content-type")
        return found.value.lower() if found else ""

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, None = not given."""
        return self.number("max-forwards")

    @property
    def expires(self) -> int | None:
        """Expires in seconds, None = not given."""
        return self.number("expires")


class Request(Message):
    """A request."""

    __slots__ = ("_uri", "method", "uri_text")

    def __init__(self, method: str, uri: str | Uri, headers: Sequence[Header], body: bytes = b"") -> None:
        super().__init__(headers, body)
        # As written: methods are case-sensitive.
        self.method = method
        self.uri_text = uri if isinstance(uri, str) else uri.text
        self._uri = None if isinstance(uri, str) else uri

    @property
    def uri(self) -> Uri:
        """The Request-URI."""
        if self._uri is None:
            self._uri = parse_uri(self.uri_text)
        return self._uri

    def start_line(self) -> str:
        """Return the first line, without its end."""
        return f"{self.method} {self.uri_text} {VERSION}"

    def __repr__(self) -> str:
        return f"<{shown(self.start_line())}>"


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str | None, headers: Sequence[Header], body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.status = status
        # None: the RFC's phrase.
        self.reason = reason_of(status) if reason is None else reason

    def start_line(self) -> str:
        """Return the first line, without its end."""
        return f"{VERSION} {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"<{shown(self.start_line())}>"


def parse(data: bytes) -> Request | Response:
    """Return the one message in `data`: a datagram, or what `framing` cut from a stream.

    Octets behind the Content-Length are dropped (RFC 3261 18.3). BadMessage says what is wrong and how to answer.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    text = data[:end].decode("utf-8", "surrogateescape") if end >= 0 else ""
    first, *fields = text.split("\r\n")
    if end < 0 or text.count("\n") != len(fields):
        # Bare line feeds: the head may end earlier than at the first empty line that is written right.
        found = _END.search(data)
        if found is None:
            raise BadMessage("no empty line ends the header fields", None)
        text = data[: found.start()].decode("utf-8", "surrogateescape")
        first, *fields = text.replace("\r\n", "\n").replace("\r", " ").split("\n")
        body = data[found.end() :]
    else:
        body = data[end + 4 :]
        if text.count("\r") != len(fields):
            # A lone carriage return is blank space: in an answer that repeats the field it could pass for a line end.
            first, *fields = _LONE_CR.sub(" ", text).split("\r\n")
    if first[:4] == "SIP/" or first[:4].upper() == "SIP/":
        return _read_response(first, fields, body)
    return _read_request(first, fields, body)


def _tidied(fields: list[str]) -> list[str]:
    """Unfold, and drop the white space before a colon (RFC 3261 7.3.1)."""
    text = _FOLD.sub(" ", "\n".join(fields))
    return _SPACED_NAME.sub(r"\1:", text).split("\n")


def _read_response(line: str, fields: list[str], body: bytes) -> Response:
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise BadMessage(f"{shown(line)} is not a status line: {VERSION}, three digits, a reason", None)
    version, status, reason = found.groups()
    if version.upper() != VERSION:
        raise BadMessage(f"version {shown(version)}; legal: {VERSION}", None)
    if not 100 <= int(status) <= 699:
        raise BadMessage(f"status {status}; legal: 100 to 699", None)
    response = Response(int(status), reason or "", ())
    try:
        _read(response, fields, body)
    except BadMessage as error:
        error.status = None
        raise
    return response


def _read_request(line: str, fields: list[str], body: bytes) -> Request:
    request = Request("", "", ())
    try:
        _read_request_line(request, line)
        _read(request, fields, body)
        _check_request(request)
    except BadMessage as error:
        _say_how_to_answer(error, request.method, fields)
        raise
    return request


def _read_request_line(request: Request, line: str) -> None:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        # Enough to know whether it may be answered at all.
        request.method = line.split(" ", 1)[0]
        raise BadMessage(f"{shown(line)} is not a request line: method, URI and {VERSION}, one space between")
    request.method, request.uri_text, version = found.groups()
    if version != VERSION and version.upper() != VERSION:
        if _IS_VERSION.fullmatch(version):
            raise BadMessage(f"version {shown(version)}; legal: {VERSION}", 505)
        raise BadMessage(f"{shown(version)} is no SIP version")
    if not is_name(request.method):
        raise BadMessage(f"method {shown(request.method)} is no token")


def _check_request(request: Request) -> None:
    if request.cseq.method != request.method:
        raise BadMessage(f"CSeq is of {shown(request.cseq.method)}, the request is {shown(request.method)}")
    if request.uri.headers:
        raise BadMessage("the Request-URI has headers (RFC 3261 19.1.1)")


def _say_how_to_answer(error: BadMessage, method: str, fields: list[str]) -> None:
    """Give `error` what an answer repeats, or take its status: an ACK, or nothing to route the answer by."""
    found: dict[str, list[Header]] = {key: [] for key in _ANSWERED}
    for name, _colon, value in (line.partition(":") for line in _tidied(fields)):
        key = key_of(name)
        # Each Via, and of the others the first.
        if key == "via" or not found.get(key, "unwanted"):
            found[key].append((name, value.strip(" \t")))
    error.headers = [header for headers in found.values() for header in headers]
    via = found["via"][0][1] if found["via"] else ""
    if not _VIA_BEGINS.match(via) or method == "ACK" or not is_token(method):
        error.status = None


def _read(message: Message, fields: list[str], body: bytes) -> None:
    """Fill in header fields and body, and read what routes the message."""
    headers, first, repeated = _split_fields(fields) or _split_fields(_tidied(fields), must=True)
    message.headers, message._first, message._repeated = headers, first, repeated  # noqa: SLF001 - made here
    message.body = _cut(first.get("content-length"), body)
    if repeated:
        for key in _ONCE:
            if key in repeated:
                raise BadMessage(f"{key} is given more than once")
    message.top_via, message.from_, message.to, message.cseq, message.call_id  # noqa: B018 - reads and keeps


_Fields = tuple[list[Header], dict[str, str], Collection[str]]


@overload
def _split_fields(fields: list[str]) -> _Fields | None: ...
@overload
def _split_fields(fields: list[str], *, must: Literal[True]) -> _Fields: ...
def _split_fields(fields: list[str], *, must: bool = False) -> _Fields | None:
    """Return the fields in order, the first value of each name, the names that repeat.

    None for a line that is no field as it stands: it may be folded. With `must` it may not, and BadMessage is raised.
    """
    headers: list[Header] = []
    first: dict[str, str] = {}
    repeated: list[str] = []
    for line in fields:
        name, colon, value = line.partition(":")
        key = key_of(name)
        if not key or not colon:
            if not must:
                return None
            raise BadMessage(f"{shown(line)} is no header field: name, colon, value")
        value = value.strip(" \t")
        headers.append((name, value))
        if key in first:
            repeated.append(key)
        else:
            first[key] = value
    return headers, first, repeated


def _cut(length: str | None, body: bytes) -> bytes:
    if length is None or length == str(len(body)):
        return body
    wanted = parse_number(length, "Content-Length")
    if wanted > len(body):
        raise BadMessage(f"Content-Length is {wanted}, the body has {len(body)} octets")
    return body[:wanted]


def _index(headers: Iterable[Header]) -> tuple[dict[str, str], Collection[str]]:
    first: dict[str, str] = {}
    repeated = set()
    for name, value in headers:
        key = key_of(name)
        if key in first:
            repeated.add(key)
        else:
            first[key] = value
    return first, repeated


def serialise(message: Request | Response) -> bytes:
    """Return `message` as it goes on the wire; a Content-Length is added where there is none.

    LocalProtocolError when it would be none: an illegal name or method, a line break in a value, a wrong length.
    """
    headers, body = message.headers, message.body
    lines = [message.start_line()]
    length = None
    for name, value in headers:
        lines.append(f"{name}: {value}")
        key = key_of(name)
        if not key:
            raise LocalProtocolError(f"{shown(name)} is no header field name")
        if key == "content-length":
            length = value
    if length is None:
        lines.append(f"Content-Length: {len(body)}")
    elif length.lstrip("0") != str(len(body)).lstrip("0"):
        raise LocalProtocolError(f"Content-Length says {shown(length)}, the body has {len(body)} octets")
    lines.append("\r\n")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise LocalProtocolError("a line break in the start line or in a header field")
    if isinstance(message, Request) and not _REQUEST_LINE.fullmatch(lines[0]):
        raise LocalProtocolError(f"{shown(lines[0])} is no request line")
    try:
        return text.encode("utf-8", "surrogateescape") + body
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"{shown(lines[0])}: text that is no Unicode") from error
