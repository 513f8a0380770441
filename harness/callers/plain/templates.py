"""Messages of plain calls as templates: the user agent's own, with the places cut out at which calls differ."""

import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.callers.plain.hot.layout import DIGITS, MOST_SENT, MOST_TEXT, NAME_BYTES, PIECES, Message, Piece, Setting
from harness.callers.sip_identity import invitation
from harness.callers.sip_silence import silent_offer
from harness.media import sockaddr
from harness.model.clock import NS_PER_MS
from harness.model.plan import CallPlan
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.flow import Flow, host_port
from harness.protocols.sip.ids import COOKIE, GivenIds, RandomIds
from harness.protocols.sip.message import Request
from harness.protocols.sip.reading import parse
from harness.protocols.sip.uri import Uri
from harness.protocols.sip.user_agent import UserAgent

# The last letter of a branch.
LETTERS: Mapping[Message, str] = {Message.INVITE: "i", Message.ACK: "a", Message.BYE: "b"}


@dataclass(frozen=True, slots=True)
class Marks:
    """Texts that stand in a message where a call's own will, and nowhere else: drawn anew, so nobody can write them."""

    number: str
    tag: str
    name: str
    remote_tag: str
    target: str

    def kinds(self, to: str) -> dict[bytes, Piece]:
        """Return what each stands for; To goes into a message as a whole."""
        said = {
            self.number: Piece.NUMBER,
            self.tag: Piece.TAG,
            self.name: Piece.NAME,
            f"{to};tag={self.remote_tag}": Piece.TO,
            self.target: Piece.TARGET,
        }
        return {text.encode("utf-8", "surrogateescape"): kind for text, kind in said.items()}


def new_marks(peer: str) -> Marks:
    """Return marks; numbers and tags are as long as the real ones."""
    number, tag, name, remote, user = (secrets.token_hex(DIGITS // 2) for _ in range(5))
    return Marks(number, tag, name, remote, f"sip:{user}@{peer}")


@dataclass(frozen=True, slots=True)
class Template:
    """What calls of one plan have in common."""

    plan: CallPlan
    uri: Uri
    flow: Flow
    # Of each message its fixed parts, and the piece behind each.
    parts: Mapping[Message, tuple[tuple[bytes, Piece], ...]]
    via: bytes
    from_: bytes
    to: bytes
    host: bytes
    peer: bytes

    def options(self, name: str) -> dict[str, Any]:
        """Return what UserAgent.invite is told of the call `name`."""
        sip = self.plan.target.sip
        assert sip is not None
        body = silent_offer(self.flow.local[0])
        return invitation(sip, self.plan.target, self.uri, self.flow, name, body)


def call_id_of(stem: str, number: int | str, local: str) -> str:
    """Return the Call-ID of a plain call."""
    return f"{stem}-{number if isinstance(number, str) else f'{number:016x}'}@{local}"


def branch_of(stem: str, number: int | str, message: Message) -> str:
    """Return the branch of one of its requests."""
    return f"{COOKIE}{stem}{number if isinstance(number, str) else f'{number:016x}'}{LETTERS[message]}"


def branches_of(stem: str, number: int | str) -> tuple[str, str, str]:
    """Return those of INVITE, ACK and BYE."""
    invite, ack, bye = (branch_of(stem, number, message) for message in LETTERS)
    return invite, ack, bye


def make_template(plan: CallPlan, uri: Uri, flow: Flow, config: AgentConfig, stem: str) -> Template | None:
    """Return the template of calls like `plan`; None where they cannot be plain."""
    peer = host_port(flow.remote)
    marks = new_marks(peer)
    blank = Template(plan, uri, flow, {}, b"", b"", b"", b"", b"")
    agent = UserAgent(config, seed=1)
    # An agent of its own, told of a call of which nothing is known but where it stands.
    own_ids = GivenIds(marks.tag, branches_of(stem, marks.number), RandomIds(1))
    agent.use_ids(own_ids)
    call_id = call_id_of(stem, marks.number, flow.local[0])
    call = agent.invite(str(uri), flow, 1, call_id=call_id, **blank.options(marks.name))
    invite = agent.take_outputs()[0][1]
    agent.receive(_answer(invite, marks), flow, 2)
    call.hang_up(3)
    messages = [invite, *(data for _flow, data in agent.take_outputs())]
    request = parse(invite)
    assert isinstance(request, Request)
    to, from_ = request.get("to") or "", request.get("from") or ""
    kinds = marks.kinds(to)
    parts = {kind: _cut(data, kinds) for kind, data in zip(Message, messages, strict=True)}
    longest = max(map(len, messages)) + NAME_BYTES + 2 * MOST_TEXT
    is_plain = longest <= MOST_SENT and max(map(len, parts.values())) <= PIECES
    if not is_plain or not all(_is_plain(text) for text in (to, from_)):
        return None
    via = (request.get("via") or "").partition(";")[0] + ";"
    own = (via, from_.removesuffix(marks.tag), to, f"@{flow.local[0]}", peer)
    return Template(plan, uri, flow, parts, *(text.encode() for text in own))


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _answer(invite: bytes, marks: Marks) -> bytes:
    request = parse(invite)
    lines = [f"{name}: {request.get(name)}" for name in ("Via", "From", "Call-ID", "CSeq")]
    to = f"To: {request.get('to')};tag={marks.remote_tag}"
    head = ["SIP/2.0 200 OK", *lines, to, f"Contact: <{marks.target}>", "Content-Length: 0", "", ""]
    return "\r\n".join(head).encode("utf-8", "surrogateescape")


def _cut(message: bytes, kinds: Mapping[bytes, Piece]) -> tuple[tuple[bytes, Piece], ...]:
    pattern = re.compile(b"|".join(re.escape(text) for text in sorted(kinds, key=len, reverse=True)))
    parts, at = [], 0
    for found in pattern.finditer(message):
        parts.append((message[at : found.start()], kinds[found[0]]))
        at = found.end()
    return (*parts, (message[at:], Piece.END))


class TemplateStore:
    """Writes templates into the tables of one line."""

    def __init__(self, tables: Any) -> None:
        self._tables = tables
        self._filled = 0
        self.count = 0

    def add(self, template: Template) -> int | None:
        """Return the number of a template; None where there is no room for it."""
        tables, sip = self._tables, template.plan.target.sip
        assert sip is not None
        size = sum(len(text) for parts in template.parts.values() for text, _ in parts) + 4 * MOST_SENT
        if self.count == len(tables.templates) or self._filled + size > len(tables.arena):
            return None
        number, row = self.count, tables.templates[self.count]
        self.count += 1
        row[Setting.HOLD_NS] = int(sip.hold_ms * NS_PER_MS)
        row[Setting.LIMIT_NS] = int(template.plan.limits.connect_timeout_ms * NS_PER_MS)
        fields = (template.via, template.from_, template.to, template.host, template.peer)
        for column, text in zip(range(Setting.VIA_AT, Setting.PEER_AT + 1, 2), fields, strict=True):
            row[column], row[column + 1] = self._put(text), len(text)
        address = sockaddr.pack(template.flow.remote)
        row[Setting.ADDRESS_LENGTH] = len(address)
        tables.addresses[number, : len(address)] = np.frombuffer(address, np.uint8)
        for message, parts in template.parts.items():
            for i, (text, piece) in enumerate(parts):
                tables.pieces[number, message, i] = self._put(text), len(text), piece
        return number

    def _put(self, text: bytes) -> int:
        at = self._filled
        self._tables.arena[at : at + len(text)] = np.frombuffer(text, np.uint8)
        self._filled += len(text)
        return at


def is_candidate(plan: CallPlan) -> bool:
    """Whether a call may be plain, by its plan: signalling only, over UDP to an address, nobody's account."""
    target, sip = plan.target, plan.target.sip
    if sip is None or sip.media or sip.transport != "udp" or plan.trace:
        return False
    if sip.proxy is not None or sip.username is not None or sip.register or sip.session_expires_s is not None:
        return False
    return not any("${" in value for value in target.headers.values())


def is_ipv4(host: str) -> bool:
    """Whether a host is an IPv4 address."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True
