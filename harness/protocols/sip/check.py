"""A message read to its last known header field: what `reading.parse` leaves for later is checked here.

For a request that begins something, before it is acted upon: a Contact or Session-Expires that cannot be read is better
refused with 400 than met in the middle of a call.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from harness.protocols.sip.grammar import BadMessage, is_token, parse_params, shown, split_list
from harness.protocols.sip.headers import (
    KEPT,
    NameAddr,
    parse_auth,
    parse_auth_info,
    parse_name_addr,
    parse_number,
    parse_valued,
    parse_via,
)
from harness.protocols.sip.message import Header, Message, Request, Response

_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# RFC 3261 20.17: this one form, and GMT only.
_DATE = re.compile(rf"(?:{_DAYS}), [0-3][0-9] (?:{_MONTHS}) [0-9]{{4}} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT")
_MEDIA_TYPE = re.compile(r"([^\s/]+)[ \t]*/[ \t]*([^\s/]+)")
_WARNING = re.compile(r'[0-9]{3}[ \t]+\S+[ \t]+".*"', re.DOTALL)
_RACK = re.compile(r"([0-9]+)[ \t]+([0-9]+)[ \t]+(\S+)")
_Q = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

_Reader = Callable[[str, str], object]


def check(message: Message) -> None:
    """Raise BadMessage, naming the field, when any header field known here cannot be read.

    `status` is 400 for a request that may be answered; None for an ACK, and for a response, which is dropped.
    """
    try:
        for key, name, reader in _FIELDS:
            for value in message.get_all(key):
                reader(value, name)
        if message.is_contact_star:
            _check_star(message)
    except BadMessage as error:
        _say_how_to_answer(error, message)
        raise


def check_used(message: Message) -> None:
    """Raise the same for the fields that a user agent acts upon, some microseconds a message.

    After it none of them raises when it is read.
    """
    try:
        for key in message.names():
            if key in _USED:
                for value in message.get_all(key):
                    _read_used(key, value)
    except BadMessage as error:
        _say_how_to_answer(error, message)
        raise


def without_unreadable(response: Response) -> Response:
    """Return `response` without the fields that `check_used` stumbles over: its status counts all the same."""
    return Response(response.status, response.reason, [*filter(_is_readable, response.headers)], response.body)


def _is_readable(header: Header) -> bool:
    try:
        check_used(Message([header]))
    except BadMessage:
        return False
    return True


# A call's messages repeat them.
@lru_cache(KEPT)
def _read_used(key: str, value: str) -> None:
    _USED[key](value, key)


def _say_how_to_answer(error: BadMessage, message: Message) -> None:
    error.headers = [(n, v) for n in ("Via", "From", "To", "Call-ID", "CSeq") for v in message.get_all(n)]
    if not isinstance(message, Request) or message.method == "ACK":
        error.status = None


def _vias(value: str, name: str) -> None:
    for part in split_list(value, name):
        parse_via(part)


def _addresses(value: str, name: str) -> list[NameAddr]:
    return [parse_name_addr(part, name) for part in split_list(value, name)]


def _contacts(value: str, name: str) -> None:
    if value == "*":
        return
    for contact in _addresses(value, name):
        expires, q = contact.params.get("expires"), contact.params.get("q")
        if expires is not None:
            parse_number(expires, "Contact: expires")
        if q is not None and not _Q.fullmatch(q):
            raise BadMessage(f"Contact: q is {shown(q)}; legal: 0 to 1, up to three decimals")


def _targets(value: str, name: str) -> None:
    if value != "*":
        _addresses(value, name)


def _check_star(message: Message) -> None:
    """`*` is for a REGISTER that ends every binding (RFC 3261 10.2.2)."""
    if not (isinstance(message, Request) and message.method == "REGISTER"):
        raise BadMessage("Contact: * is for REGISTER only")
    if message.expires != 0 or len(message.get_all("contact")) > 1:
        raise BadMessage("Contact: * needs Expires: 0 and stands alone")


def _routes(value: str, name: str) -> None:
    if not _addresses(value, name):
        raise BadMessage(f"{name} is empty")


def _small_number(value: str, name: str) -> None:
    """Read a number that parameters and a comment may follow: Session-Expires, Retry-After, Min-SE."""
    parse_number(parse_valued(value, name).value, name)


def _tokens(value: str, name: str) -> None:
    for part in split_list(value, name):
        if not is_token(part):
            raise BadMessage(f"{name}: {shown(part)} is no token")


def _date(value: str, name: str) -> None:
    if not _DATE.fullmatch(value):
        raise BadMessage(f"{name}: {shown(value)} is not of the form Sat, 13 Nov 2010 23:29:00 GMT")


def _media_type(value: str, name: str) -> None:
    found = _MEDIA_TYPE.fullmatch(parse_valued(value, name).value)
    if found is None or not (is_token(found[1]) and is_token(found[2])):
        raise BadMessage(f"{name}: {shown(value)} is not type/subtype")


def _media_ranges(value: str, name: str) -> None:
    for part in split_list(value, name):
        _media_type(part, name)


def _valued_list(value: str, name: str) -> None:
    for part in split_list(value, name):
        parse_valued(part, name)


def _warning(value: str, name: str) -> None:
    for part in split_list(value, name):
        if not _WARNING.fullmatch(part):
            raise BadMessage(f"{name}: {shown(part)} is not a code, an agent and a quoted text")


def _mime_version(value: str, name: str) -> None:
    if not re.fullmatch(r"[0-9]+\.[0-9]+", value):
        raise BadMessage(f"{name}: {shown(value)} is not such as 1.0")


def _rack(value: str, name: str) -> None:
    found = _RACK.fullmatch(value)
    if found is None or not is_token(found[3]):
        raise BadMessage(f"{name}: {shown(value)} is not two numbers and a method")
    parse_number(found[1], name)
    parse_number(found[2], name)


def _disposition(value: str, name: str) -> None:
    if not is_token(parse_valued(value, name).value):
        raise BadMessage(f"{name}: {shown(value)} begins with no token")


# RFC 3261 20.22: 0 to 255.
def _max_forwards(value: str, name: str) -> None:
    parse_number(value, name, 256)


def _one_address(value: str, name: str) -> None:
    parse_name_addr(value, name)


def _replaces(value: str, name: str) -> None:
    call_id, semicolon, tail = value.partition(";")
    if not call_id.strip():
        raise BadMessage(f"{name} names no call")
    parse_params(semicolon + tail, name)


# What is read how: key, name in errors, reader.
_FIELDS: tuple[tuple[str, str, _Reader], ...] = (
    ("via", "Via", _vias),
    ("contact", "Contact", _contacts),
    ("route", "Route", _routes),
    ("record-route", "Record-Route", _routes),
    ("path", "Path", _routes),
    ("service-route", "Service-Route", _routes),
    ("reply-to", "Reply-To", _one_address),
    ("refer-to", "Refer-To", _one_address),
    ("referred-by", "Referred-By", _one_address),
    ("p-asserted-identity", "P-Asserted-Identity", _addresses),
    ("p-preferred-identity", "P-Preferred-Identity", _addresses),
    ("diversion", "Diversion", _addresses),
    ("max-forwards", "Max-Forwards", _max_forwards),
    ("expires", "Expires", parse_number),
    ("min-expires", "Min-Expires", parse_number),
    ("rseq", "RSeq", parse_number),
    ("rack", "RAck", _rack),
    ("session-expires", "Session-Expires", _small_number),
    ("min-se", "Min-SE", _small_number),
    ("retry-after", "Retry-After", _small_number),
    ("allow", "Allow", _tokens),
    ("supported", "Supported", _tokens),
    ("require", "Require", _tokens),
    ("proxy-require", "Proxy-Require", _tokens),
    ("unsupported", "Unsupported", _tokens),
    ("content-encoding", "Content-Encoding", _tokens),
    ("content-type", "Content-Type", _media_type),
    ("content-disposition", "Content-Disposition", _disposition),
    ("accept", "Accept", _media_ranges),
    ("accept-encoding", "Accept-Encoding", _valued_list),
    ("accept-language", "Accept-Language", _valued_list),
    ("allow-events", "Allow-Events", _tokens),
    ("event", "Event", parse_valued),
    ("subscription-state", "Subscription-State", parse_valued),
    ("reason", "Reason", _valued_list),
    ("replaces", "Replaces", _replaces),
    ("date", "Date", _date),
    ("mime-version", "MIME-Version", _mime_version),
    ("warning", "Warning", _warning),
    ("www-authenticate", "WWW-Authenticate", parse_auth),
    ("proxy-authenticate", "Proxy-Authenticate", parse_auth),
    ("authorization", "Authorization", parse_auth),
    ("proxy-authorization", "Proxy-Authorization", parse_auth),
    ("authentication-info", "Authentication-Info", parse_auth_info),
)

# Lists of words are not held to their grammar here: some write blanks for commas, and nobody is confused.
_USED: dict[str, _Reader] = {
    "contact": _targets,
    "record-route": _routes,
    "require": split_list,
    "supported": split_list,
    "allow": split_list,
    "content-type": parse_valued,
    "session-expires": _small_number,
    "min-se": _small_number,
    "rseq": parse_number,
    "expires": parse_number,
    "min-expires": parse_number,
}
