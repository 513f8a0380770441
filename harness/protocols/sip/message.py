"""SIP messages, and how they are written: strict out (RFC 3261 sections 7, 20). `reading.parse` reads them."""

import re
from collections.abc import Collection, Iterable, Sequence

from harness.model.errors import LocalProtocolError
from harness.protocols.sip.grammar import BadMessage, shown, split_list
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

__all__ = ["BadMessage", "Header", "Message", "Request", "Response", "serialise"]

# Name as written, value without the white space around it and unfolded.
Header = tuple[str, str]

VERSION = "SIP/2.0"

REQUEST_LINE = re.compile(r"(\S+) (\S+) (\S+)")


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
    if isinstance(message, Request) and not REQUEST_LINE.fullmatch(lines[0]):
        raise LocalProtocolError(f"{shown(lines[0])} is no request line")
    try:
        return text.encode("utf-8", "surrogateescape") + body
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"{shown(lines[0])}: text that is no Unicode") from error
