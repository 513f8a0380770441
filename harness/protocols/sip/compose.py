"""Header text of the messages a user agent writes itself, built from parts that are known to be clean.

Requests and responses of the core are put together as text: a call sends seven messages, and their fields are the
same from one to the next. What an application adds passes `lines_of`, which refuses what would break a message.
"""

from collections.abc import Iterable

from harness.model.errors import LocalProtocolError
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.grammar import is_token, shown, split_list
from harness.protocols.sip.message import Request, Response
from harness.protocols.sip.reading import parse
from harness.protocols.sip.status import REASONS, reason_of

Headers = Iterable[tuple[str, str]]

_START_LINES = {status: f"SIP/2.0 {status} {reason}\r\n" for status, reason in REASONS.items()}


def lines_of(headers: Headers) -> str:
    """Return an application's own header fields as lines; LocalProtocolError where one would break the message."""
    lines = []
    for name, value in headers:
        if not is_token(name):
            raise LocalProtocolError(f"{shown(name)} is no header field name")
        lines.append(f"{name}: {one_line(value)}\r\n")
    return "".join(lines)


def one_line(value: str) -> str:
    """Return `value`; LocalProtocolError when it holds a line break, which would begin another field."""
    if "\r" in value or "\n" in value:
        raise LocalProtocolError(f"a line break in {shown(value)}")
    return value


def encoded(head: str, body: bytes, content_type: str) -> bytes:
    """Return a whole message: `head` is its start line and fields but Content-Type and Content-Length."""
    if not body:
        return (head + "Content-Length: 0\r\n\r\n").encode("utf-8", "surrogateescape")
    text = f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return text.encode("utf-8", "surrogateescape") + body


def start_line(status: int, reason: str | None) -> str:
    """Return a status line with its end."""
    if reason is None:
        return _START_LINES.get(status) or f"SIP/2.0 {status} {reason_of(status)}\r\n"
    return f"SIP/2.0 {status} {one_line(reason)}\r\n"


def stem_of(request: Request, flow: Flow, tag: str) -> str:
    """Return the lines every response to `request` repeats (RFC 3261 8.2.6.2), the top Via stamped (RFC 3581).

    `tag` is ours, put behind a To that has none yet.
    """
    vias = request.get_all("via")
    vias[0] = _stamped(request, vias[0], flow)
    to = request.get("to") or ""
    if tag and request.to.tag is None:
        to = f"{to};tag={tag}"
    via = "\r\nVia: ".join(vias)
    ids = f"Call-ID: {request.call_id}\r\nCSeq: {request.get('cseq')}\r\n"
    return f"Via: {via}\r\nFrom: {request.get('from')}\r\nTo: {to}\r\n{ids}"


def _stamped(request: Request, text: str, flow: Flow) -> str:
    host, port = flow.remote
    at = text.find(";rport")
    if at >= 0 and "," not in text and text[at + 6 : at + 7] in ("", ";") and ":" not in host:
        # The commonest form: nothing but `rport` to fill in.
        return f"{text[: at + 6]}={port};received={host}{text[at + 6 :]}"
    top = request.top_via
    stamped = top.stamped(host, port)
    if stamped is top:
        return text
    return ", ".join([str(stamped), *split_list(text, "Via")[1:]])


def answer_flow(request: Request, flow: Flow) -> Flow:
    """Return where responses to `request` go (RFC 3261 18.2.2, RFC 3581): back on a stream, else as its Via says."""
    if flow.transport != "udp":
        return flow
    via = request.top_via
    if "rport" in via.params:
        return flow
    port = via.port or via.default_port
    return flow if port == flow.remote[1] else flow._replace(remote=(flow.remote[0], port))


def _head_of(invite: bytes, method: str, to: str | None) -> str:
    request = parse(invite)
    assert isinstance(request, Request)
    fields = [f"{method} {request.uri_text} SIP/2.0\r\nVia: {request.get_all('via')[0]}\r\n"]
    fields += [f"Route: {route}\r\n" for route in request.get_all("route")]
    fields.append(f"Max-Forwards: {request.get('max-forwards')}\r\nFrom: {request.get('from')}\r\n")
    fields.append(f"To: {request.get('to') if to is None else to}\r\nCall-ID: {request.call_id}\r\n")
    fields.append(f"CSeq: {request.cseq.number} {method}\r\n")
    return "".join(fields)


def ack_of_failure(invite: bytes, response: Response) -> str:
    """Return the ACK of a final response other than 2xx to `invite` (RFC 3261 17.1.1.3)."""
    return _head_of(invite, "ACK", response.get("to")) + "Content-Length: 0\r\n\r\n"


def cancel_of(invite: bytes, extra: str) -> bytes:
    """Return the CANCEL of `invite` (RFC 3261 9.1); `extra` are lines such as Reason."""
    return encoded(_head_of(invite, "CANCEL", None) + extra, b"", "")
