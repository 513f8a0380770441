"""The pieces SIP header fields are made of (RFC 3261 section 25): tokens, quoted strings, parameters, comma lists.

Text is str, decoded from UTF-8 with `surrogateescape`, so that octets that are no UTF-8 come out again as they came.
Lenient where senders are known to be: a parameter value may hold any octet that cannot be taken for a separator.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harness.model.errors import RemoteProtocolError

Params = Mapping[str, str | None]

WORD = r"[A-Za-z0-9\-.!%*_+`'~]+"
QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'

_TOKEN = re.compile(WORD)
_PARAM = re.compile(rf"[ \t]*;[ \t]*({WORD})[ \t]*(?:=[ \t]*({QUOTED}|[^\s;,\"<>]+)[ \t]*)?", re.DOTALL)
# Parameters that take more than cutting at each semicolon.
_ODD = re.compile(r"""[\s"<>,]|^[^;]""")
_LIST_ITEM = re.compile(rf'(?:[^,"<]+|{QUOTED}|<[^>]*>)+', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MUST_ESCAPE = re.compile(r'(["\\])')
_SHOWN = 60


class BadMessage(RemoteProtocolError):  # noqa: N818 - read as what was received: a bad message
    """A message, or a header field of one, that breaks SIP's grammar or rules.

    `reason` is one line for a log or a reason phrase. `status` is what to answer the request with; None: it must not be
    answered (a response, an ACK, or too broken to route an answer). `headers` are the fields that answer repeats.
    """

    def __init__(self, reason: str, status: int | None = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.headers: list[tuple[str, str]] = []


def shown(text: Any) -> str:
    """Return `text` as an error may quote it: short, printable ASCII."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def is_token(text: str) -> bool:
    """Tell whether `text` is a token (RFC 3261 25.1)."""
    return _TOKEN.fullmatch(text) is not None


@lru_cache(1024)
def is_name(text: str) -> bool:
    """Tell the same of a name, of which few are in use: kept."""
    return _TOKEN.fullmatch(text) is not None


def unquote(text: str) -> str:
    """Return what a quoted string says; text without quotes as it is."""
    if text[:1] != '"':
        return text
    inner = text[1:-1]
    return _ESCAPED.sub(r"\1", inner) if "\\" in inner else inner


def quote(text: str) -> str:
    """Return `text` as a quoted string."""
    escaped = _MUST_ESCAPE.sub(r"\\\1", text) if '"' in text or "\\" in text else text
    return f'"{escaped}"'


def parse_params(text: str, what: str) -> dict[str, str | None]:
    """Read `;name=value;name...`: names in lower case, values unquoted, None where there is no `=`.

    Of a name given twice the first counts. BadMessage when something else is found; `what` names the header field.
    """
    params: dict[str, str | None] = {}
    if not text:
        return params
    if _ODD.search(text) is None:
        for part in text[1:].split(";"):
            name, equals, value = part.partition("=")
            if not is_name(name) or (equals and not value):
                raise BadMessage(f"{what}: {shown(part)} is no parameter")
            params.setdefault(name.lower(), value if equals else None)
        return params
    at, end = 0, len(text)
    while at < end:
        found = _PARAM.match(text, at)
        if found is None:
            raise BadMessage(f"{what}: no parameter at {shown(text[at:])}")
        name, value = found.groups()
        params.setdefault(name.lower(), unquote(value) if value is not None else None)
        at = found.end()
    return params


def format_params(params: Params) -> str:
    """Return `params` as `;name=value...`, each value quoted that is no token."""
    parts = []
    for name, value in params.items():
        if value is None:
            parts.append(f";{name}")
        else:
            # A host may be a value too: an address in brackets is no token, yet needs no quotes.
            plain = _TOKEN.fullmatch(value) or (value[:1] == "[" and value[-1:] == "]")
            parts.append(f";{name}={value if plain else quote(value)}")
    return "".join(parts)


def split_list(text: str, what: str) -> list[str]:
    """Return the values of a comma list; commas within quotes and angle brackets separate nothing.

    Empty values are left out, as in every `#rule` list; BadMessage when a quote or bracket is never closed.
    """
    if "," not in text:
        return [text] if text else []
    values = []
    at, end = 0, len(text)
    while at < end:
        found = _LIST_ITEM.match(text, at)
        if found is not None:
            if value := found[0].strip():
                values.append(value)
            at = found.end()
        if at < end:
            if text[at] != ",":
                raise BadMessage(f"{what}: a quote or bracket is never closed at {shown(text[at:])}")
            at += 1
    return values
