"""A dialog: who talks to whom, over which hops, with which numbers (RFC 3261 section 12)."""

import ipaddress
from functools import lru_cache

from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import BadMessage, Message, Request, Response
from harness.protocols.sip.uri import parse_uri


class Dialog:
    """One peer-to-peer relation; early until a 2xx confirms it. Its call drives it."""

    __slots__ = (
        "_hop",
        "_lines",
        "_request_uri",
        "_routes",
        "confirmed",
        "flow",
        "local",
        "local_cseq",
        "remote",
        "remote_cseq",
        "remote_tag",
        "rseq",
        "target",
    )  # fmt: skip

    def __init__(
        self, flow: Flow, local: str, remote: str, remote_tag: str | None, target: str, routes: tuple[str, ...]
    ) -> None:
        self.flow = flow
        # From and To of our requests, with tags.
        self.local = local
        self.remote = remote
        self.remote_tag = remote_tag
        self.target = target
        self._routes = routes
        self.local_cseq = 0
        # None before the peer sent a request.
        self.remote_cseq: int | None = None
        self.confirmed = False
        # RSeq of the last reliable provisional response taken, 0 = none (RFC 3262 4).
        self.rseq = 0
        self._request_uri = target
        self._lines = ""
        self._hop: Flow | None = None

    def head(self, method: str, number: int, via_line: str, call_id: str, max_forwards: int) -> str:
        """Return the start line and the routing fields of a request in this dialog (RFC 3261 12.2.1.1)."""
        if not self._lines:
            self._route()
            self._lines += f"Max-Forwards: {max_forwards}\r\nFrom: {self.local}\r\nTo: {self.remote}\r\n"
            self._lines += f"Call-ID: {call_id}\r\nCSeq: "
        return f"{method} {self._request_uri} SIP/2.0\r\n{via_line}{self._lines}{number} {method}\r\n"

    @property
    def request_uri(self) -> str:
        """What stands in the start line of our requests."""
        if not self._lines:
            self._route()
        return self._request_uri

    def _route(self) -> None:
        """Lay out the route set; a first hop without `lr` is a strict router and takes the start line itself."""
        routes, self._request_uri = self._routes, self.target
        self._hop = None
        if routes and ";lr" not in routes[0].lower():
            self._request_uri = _uri_in(routes[0])
            routes = (*routes[1:], f"<{self.target}>")
        self._lines = "".join([f"Route: {route}\r\n" for route in routes])

    def retarget(self, message: Message) -> None:
        """Take over the peer's Contact from a target refresh: re-INVITE, UPDATE, or a 2xx to one (RFC 3261 12.2)."""
        target = target_of(message)
        if target is not None and target != self.target:
            self.target = target
            self._lines = ""

    def set_routes(self, routes: tuple[str, ...]) -> None:
        """Recompute the route set, as the first 2xx does (RFC 3261 13.2.2.4)."""
        if routes != self._routes:
            self._routes = routes
            self._lines = ""

    def way(self, *, follow_contact: bool) -> Flow:
        """Return the flow of the next request: a stream's own, else where Route or Contact point to, if an address."""
        if self.flow.transport != "udp" or not follow_contact:
            return self.flow
        if self._hop is None or not self._lines:
            hop = self._next_hop()
            self._hop = self.flow if hop in (None, self.flow.remote) else self.flow._replace(remote=hop)
        return self._hop

    def _next_hop(self) -> tuple[str, int] | None:
        return _address_in(_uri_in(self._routes[0]) if self._routes else self.target)


@lru_cache(4096)
def _address_in(uri_text: str) -> tuple[str, int] | None:
    try:
        uri = parse_uri(uri_text)
        host = uri.params.get("maddr") or uri.address
        ipaddress.ip_address(host)
    except (BadMessage, ValueError):
        return None
    return host, uri.port or (5061 if uri.scheme == "sips" else 5060)


def _uri_in(route: str) -> str:
    start, end = route.find("<"), route.rfind(">")
    return route[start + 1 : end] if 0 <= start < end else route


def target_of(message: Message) -> str | None:
    """Return the URI of the first Contact, None where there is none; BadMessage where it cannot be read."""
    text = message.get("contact")
    if text is None:
        return None
    if text[:1] == "<" and "," not in text:
        # By far the commonest form; checked by the parser all the same.
        end = text.find(">")
        if end > 0:
            return parse_uri(text[1:end]).text
    found = message.contacts
    return found[0].uri.text if found else None


def routes_of(message: Message) -> tuple[str, ...]:
    """Return Record-Route as a UAS uses it, in order; a UAC turns a response's around (RFC 3261 12.1)."""
    return tuple(message.values("record-route")) if message.get("record-route") is not None else ()


def dialog_of_response(response: Response, flow: Flow, local: str, fallback_target: str) -> Dialog:
    """Return the dialog a response with a To tag makes for a UAC (RFC 3261 12.1.2)."""
    target = target_of(response) or fallback_target
    return Dialog(flow, local, response.get("to") or "", response.to.tag, target, routes_of(response)[::-1])


def dialog_of_request(request: Request, flow: Flow, local_tag: str) -> Dialog:
    """Return the dialog an INVITE makes for a UAS (RFC 3261 12.1.1); BadMessage without a Contact."""
    target = target_of(request)
    if target is None:
        raise BadMessage("INVITE without Contact")
    local = f"{request.get('to')};tag={local_tag}"
    dialog = Dialog(flow, local, request.get("from") or "", request.from_.tag, target, routes_of(request))
    dialog.remote_cseq = request.cseq.number
    return dialog
