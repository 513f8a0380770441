"""SIP messages off the wire: tolerant in (RFC 3261 sections 7, 18.3; RFC 4475).

`parse` reads what routes a message (start line, Via, From, To, Call-ID, CSeq, Content-Length) and refuses one whose
routing is broken; every other field is read when asked for, and raises BadMessage then. `check.check` reads them all.
Tolerated: folded fields, bare LF, white space before a colon, compact and oddly cased names, octets that are no UTF-8.
"""

import re
from collections.abc import Collection
from typing import Literal, overload

from harness.protocols.sip.grammar import BadMessage, is_name, is_token, shown
from harness.protocols.sip.headers import key_of, parse_number
from harness.protocols.sip.message import REQUEST_LINE, VERSION, Header, Message, Request, Response

__all__ = ["BadMessage", "parse"]

_END = re.compile(rb"\r?\n\r?\n")
# Both run in a time that grows with the text, not with its square.
_FOLD = re.compile(r"\n[ \t]+")
_SPACED_NAME = re.compile(r"^([^:\s]+)[ \t]+:", re.MULTILINE)
_STATUS_LINE = re.compile(r"(\S+) ([0-9]{3})(?: (.*))?", re.DOTALL)
_LONE_CR = re.compile(r"\r(?!\n)")
_IS_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
# Enough of a Via for the sender to know its own again.
_VIA_BEGINS = re.compile(r"SIP[ \t]*/[ \t]*[0-9.]+[ \t]*/[ \t]*\S+[ \t]+\S", re.IGNORECASE)
# Fields of which two make a message ambiguous (RFC 4475 3.3.8).
_ONCE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length")
_ANSWERED = ("via", "from", "to", "call-id", "cseq")


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
    found = REQUEST_LINE.fullmatch(line)
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
