"""Is a datagram a response that a plain call expects, to the byte? Then what the call needs of it; else it is not ours.

Strict where harness/protocols/sip is tolerant: what is written in another way than most write it (folded, commented,
quoted, repeated, in another case where case matters) is left to the user agent, which reads everything.
"""

from typing import Any

from harness.callers.plain.hot.compose import number_of
from harness.callers.plain.hot.jit import compiled
from harness.callers.plain.hot.layout import DIGITS, SLOT_BITS, Call, Cell, Message, Scan, Setting, State
from harness.callers.plain.hot.text import equal, get_hex, lower, tag_of

_CR, _LF, _TAB, _SPACE, _COLON, _DELETE = 13, 10, 9, 32, 58, 127
_SEMICOLON, _AT, _LESS, _GREATER, _MINUS = 59, 64, 60, 62, 45
_FACTOR, _START, _BITS = 0x100000001B3, 0x0BF29CE484222325, 0x0FFFFFFFFFFFFFFF


def _name(text: str) -> int:
    number = _START
    for byte in text.encode():
        number = ((number ^ byte) * _FACTOR) & _BITS
    return number


def _bytes(text: str) -> Any:
    return tuple(text.encode())


_VIA, _V, _FROM, _F, _TO, _T = map(_name, ("via", "v", "from", "f", "to", "t"))
_CALL_ID, _I, _CSEQ = map(_name, ("call-id", "i", "cseq"))
_CONTACT, _M, _LENGTH, _L = map(_name, ("contact", "m", "content-length", "l"))
_SERVER, _AGENT = map(_name, ("server", "user-agent"))
# What a plain call has not: routes, reliable provisional responses, session timers, a side channel for transcripts.
_RECORD_ROUTE, _REQUIRE, _RSEQ = map(_name, ("record-route", "require", "rseq"))
_EXPIRES, _X, _EVENTS = map(_name, ("session-expires", "x", "x-callquake-events"))
_STATUS = _bytes("SIP/2.0 ")
_BRANCH = _bytes("branch=z9hG4bK")
_TAG = _bytes(";tag=")
_SIP = _bytes("<sip:")
_INVITE, _BYE = _bytes("1 INVITE"), _bytes("2 BYE")
_PORT = _bytes(":5060")
_LETTER_I, _LETTER_B, _LETTER_M = ord("i"), ord("b"), ord("m")
# Found in one message, each once at most.
_SEEN_VIA, _SEEN_FROM, _SEEN_TO, _SEEN_ID, _SEEN_CSEQ, _SEEN_CONTACT, _SEEN_LENGTH = 1, 2, 4, 8, 16, 32, 64
_MUST = _SEEN_VIA | _SEEN_FROM | _SEEN_TO | _SEEN_ID | _SEEN_CSEQ
_MOST_DIGITS = 5


@compiled
def starts(data: Any, at: int, text: Any) -> bool:
    """Whether the bytes there are those of a tuple."""
    for i in range(len(text)):  # noqa: SIM110 - compiled, and a generator is not
        if data[at + i] != text[i]:
            return False
    return True


@compiled
def _is_word(byte: int) -> bool:
    """Letters, digits and the few others that stand in hosts, tokens and parameters without a meaning of their own."""
    return 48 <= byte <= 57 or 97 <= byte <= 122 or 65 <= byte <= 90 or byte in (45, 46, 95, 43, 126, 33, 42)


@compiled
def _line_end(data: Any, at: int, length: int) -> int:
    """Return the place of the CR LF that ends a line; -1 where something else than plain text comes before it."""
    while at + 1 < length:
        byte = data[at]
        if byte == _CR:
            return at if data[at + 1] == _LF else -1
        if (byte < _SPACE and byte != _TAB) or byte >= _DELETE:
            return -1
        at += 1
    return -1


@compiled
def scan(tables: Any, data: Any, length: int) -> int:
    """Read a response; return the call it is for, -1 where it is not plain. What was found is in `tables.scan`."""
    found = tables.scan
    for i in range(len(found)):
        found[i] = 0
    if length < 64 or not starts(data, 0, _STATUS) or data[11] != _SPACE:
        return -1
    status = 0
    for i in range(8, 11):
        if not 48 <= data[i] <= 57:
            return -1
        status = 10 * status + int(data[i]) - 48
    end = _line_end(data, 12, length)
    if end < 0 or not 100 <= status <= 699:
        return -1
    found[Scan.STATUS], found[Scan.REASON_AT], found[Scan.REASON_LENGTH] = status, 12, end - 12
    found[Scan.CALL], found[Scan.LENGTH] = -1, -1
    at = end + 2
    while at + 1 < length and data[at] != _CR:
        end = _line_end(data, at, length)
        if end < 0 or not _field(tables, data, at, end):
            return -1
        at = end + 2
    if at + 1 >= length or data[at + 1] != _LF or found[Scan.SEEN] & _MUST != _MUST:
        return -1
    if found[Scan.LENGTH] >= 0 and found[Scan.LENGTH] != length - at - 2:
        return -1
    return int(_whose(tables, data))


@compiled
def _field(tables: Any, data: Any, at: int, end: int) -> bool:
    """Take one header field; False where the message is not plain with it."""
    name, place = _START, at
    while place < end and data[place] != _COLON:
        byte = int(data[place])
        if not _is_word(byte):
            return False
        name = ((name ^ lower(byte)) * _FACTOR) & _BITS
        place += 1
    if place == at or place >= end:
        return False
    value = place + 1
    while value < end and data[value] in (_SPACE, _TAB):
        value += 1
    while end > value and data[end - 1] in (_SPACE, _TAB):
        end -= 1
    return bool(_known_field(tables, data, name, value, end))


@compiled
def _known_field(tables: Any, data: Any, name: int, at: int, end: int) -> bool:
    found = tables.scan
    if name in (_VIA, _V):
        return _once(found, _SEEN_VIA) and _take_via(tables, data, at, end)
    if name in (_FROM, _F):
        found[Scan.FROM_AT], found[Scan.FROM_LENGTH] = at, end - at
        return _once(found, _SEEN_FROM)
    if name in (_TO, _T):
        found[Scan.TO_AT], found[Scan.TO_LENGTH] = at, end - at
        return _once(found, _SEEN_TO)
    if name in (_CALL_ID, _I):
        return _once(found, _SEEN_ID) and _take_call_id(tables, data, at, end)
    if name == _CSEQ:
        return _once(found, _SEEN_CSEQ) and _take_cseq(found, data, at, end)
    if name in (_CONTACT, _M):
        return _once(found, _SEEN_CONTACT) and _take_contact(found, data, at, end)
    if name in (_LENGTH, _L):
        return _once(found, _SEEN_LENGTH) and _take_length(found, data, at, end)
    if name == _SERVER and found[Scan.SERVER_AT] == 0:
        found[Scan.SERVER_AT], found[Scan.SERVER_LENGTH] = at, end - at
    elif name == _AGENT and found[Scan.AGENT_AT] == 0:
        found[Scan.AGENT_AT], found[Scan.AGENT_LENGTH] = at, end - at
    return name not in (_RECORD_ROUTE, _REQUIRE, _RSEQ, _EXPIRES, _X, _EVENTS)


@compiled
def _once(found: Any, bit: int) -> bool:
    was_there = found[Scan.SEEN] & bit != 0
    found[Scan.SEEN] |= bit
    return not was_there


@compiled
def _take_via(tables: Any, data: Any, at: int, end: int) -> bool:
    """Our one Via: its branch says which request, and of which call; that the rest is ours is seen later."""
    found, branch = tables.scan, 0
    found[Scan.VIA_AT], place = at, at
    while place < end:
        byte = data[place]
        if byte == _SEMICOLON and place + 1 + len(_BRANCH) + 2 * DIGITS < end and starts(data, place + 1, _BRANCH):
            if branch:
                return False
            branch = place + 1 + len(_BRANCH)
        elif not (_is_word(int(byte)) or byte in (_SEMICOLON, _COLON, 61, 47, _SPACE)):
            # 61, 47: "=", "/".
            return False
        place += 1
    if branch == 0 or not equal(data, branch, tables.stem, 0, DIGITS):
        return False
    behind = branch + 2 * DIGITS + 1
    if behind < end and data[behind] != _SEMICOLON:
        return False
    found[Scan.BRANCH_NUMBER] = get_hex(data, branch + DIGITS)
    found[Scan.BRANCH_LETTER] = data[behind - 1]
    return True


@compiled
def _take_call_id(tables: Any, data: Any, at: int, end: int) -> bool:
    found = tables.scan
    if end - at < 2 * DIGITS + 2 or not equal(data, at, tables.stem, 0, DIGITS) or data[at + DIGITS] != _MINUS:
        return False
    found[Scan.CALL] = get_hex(data, at + DIGITS + 1)
    found[Scan.HOST_AT] = at + 2 * DIGITS + 1
    found[Scan.HOST_LENGTH] = end - found[Scan.HOST_AT]
    return True


@compiled
def _take_cseq(found: Any, data: Any, at: int, end: int) -> bool:
    if end - at == len(_INVITE) and starts(data, at, _INVITE):
        found[Scan.METHOD] = Message.INVITE
        return True
    found[Scan.METHOD] = Message.BYE
    return bool(end - at == len(_BYE) and starts(data, at, _BYE))


@compiled
def _take_contact(found: Any, data: Any, at: int, end: int) -> bool:
    """`<sip:user@host:port;parameters>` and nothing else."""
    if end - at < len(_SIP) + 2 or not starts(data, at, _SIP) or data[end - 1] != _GREATER:
        return False
    host, port, tail = at + len(_SIP), 0, end - 1
    for place in range(at + len(_SIP), end - 1):
        byte = data[place]
        if byte == _SEMICOLON:
            # 61: "=". A parameter that begins with m may be maddr.
            if lower(int(data[place + 1])) == _LETTER_M:
                return False
            tail = min(tail, place)
        elif byte == _AT:
            if host != at + len(_SIP) or port or place == host or tail < end - 1:
                return False
            host = place + 1
        elif byte == _COLON:
            if port or tail < end - 1:
                return False
            port = place
        elif not (_is_word(int(byte)) or (byte == 61 and tail < end - 1)):
            return False
    found[Scan.TARGET_AT], found[Scan.TARGET_LENGTH] = at + 1, end - at - 2
    found[Scan.PEER_AT], found[Scan.PEER_LENGTH] = host, tail - host
    found[Scan.HAS_PORT] = port
    return tail > host and port != host


@compiled
def _take_length(found: Any, data: Any, at: int, end: int) -> bool:
    if not 0 < end - at <= _MOST_DIGITS:
        return False
    number = 0
    for place in range(at, end):
        if not 48 <= data[place] <= 57:
            return False
        number = 10 * number + int(data[place]) - 48
    found[Scan.LENGTH] = number
    return True


@compiled
def _whose(tables: Any, data: Any) -> int:
    """Return the call whose request is answered, all that identifies it being as it was sent; -1: none of ours."""
    found = tables.scan
    number = found[Scan.CALL]
    index = call_of(tables, number)
    if index < 0 or found[Scan.BRANCH_NUMBER] != number:
        return -1
    if found[Scan.BRANCH_LETTER] != (_LETTER_I if found[Scan.METHOD] == Message.INVITE else _LETTER_B):
        return -1
    setting, arena = tables.templates[tables.calls[index, Call.TEMPLATE]], tables.arena
    if not equal(data, found[Scan.VIA_AT], arena, setting[Setting.VIA_AT], setting[Setting.VIA_LENGTH]):
        return -1
    length = setting[Setting.HOST_LENGTH]
    if found[Scan.HOST_LENGTH] != length or not equal(
        data, found[Scan.HOST_AT], arena, setting[Setting.HOST_AT], length
    ):
        return -1
    if not (_is_from_ours(tables, data, setting, number) and _is_to_ours(tables, data, setting)):
        return -1
    found[Scan.IS_NEAR] = found[Scan.TARGET_AT] > 0 and _is_near(tables, data, setting)
    return int(index)


@compiled
def call_of(tables: Any, number: int) -> int:
    """Return the row of the call of that number, -1 where there is none under way."""
    if number < 0:
        return -1
    index = number & ((1 << SLOT_BITS) - 1)
    if index >= len(tables.calls) or number_of(tables, index) != number:
        return -1
    return index if tables.calls[index, Call.STATE] >= State.CALLING else -1


@compiled
def _is_from_ours(tables: Any, data: Any, setting: Any, number: int) -> bool:
    found, length = tables.scan, setting[Setting.FROM_LENGTH]
    at = found[Scan.FROM_AT]
    if found[Scan.FROM_LENGTH] != length + DIGITS:
        return False
    if not equal(data, at, tables.arena, setting[Setting.FROM_AT], length):
        return False
    return bool(get_hex(data, at + length) == tag_of(tables.cells[Cell.SECRET], number))


@compiled
def _is_to_ours(tables: Any, data: Any, setting: Any) -> bool:
    found, length = tables.scan, setting[Setting.TO_LENGTH]
    at, whole = found[Scan.TO_AT], found[Scan.TO_LENGTH]
    if whole < length or not equal(data, at, tables.arena, setting[Setting.TO_AT], length):
        return False
    if whole == length:
        return True
    if whole <= length + len(_TAG) or not starts(data, at + length, _TAG):
        return False
    for place in range(at + length + len(_TAG), at + whole):
        if not _is_word(int(data[place])):
            return False
    found[Scan.HAS_TAG] = 1
    return True


@compiled
def _is_near(tables: Any, data: Any, setting: Any) -> bool:
    """Whether the Contact is where the INVITE went."""
    found = tables.scan
    at, length = found[Scan.PEER_AT], found[Scan.PEER_LENGTH]
    peer, peer_length = setting[Setting.PEER_AT], setting[Setting.PEER_LENGTH]
    if found[Scan.HAS_PORT]:
        return bool(length == peer_length and equal(data, at, tables.arena, peer, length))
    if length + len(_PORT) != peer_length or not equal(data, at, tables.arena, peer, length):
        return False
    return bool(starts(tables.arena, peer + length, _PORT))


@compiled
def mentioned(tables: Any, data: Any, length: int) -> int:
    """Return the call under way whose number a datagram has somewhere in it, -1 where it has none."""
    first = tables.stem[0]
    for at in range(length - 2 * DIGITS):
        if data[at] == first and equal(data, at, tables.stem, 0, DIGITS):
            begin = at + DIGITS + (1 if data[at + DIGITS] == _MINUS else 0)
            if begin + DIGITS <= length:
                index = call_of(tables, get_hex(data, begin))
                if index >= 0:
                    return int(index)
    return -1
