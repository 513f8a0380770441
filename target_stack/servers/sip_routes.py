"""Which media server has which SIP call, by Call-ID. Pure: bytes and time in.

A call's messages, both ways and in every dialog state, carry its Call-ID (RFC 3261 8.1.1.4), so it alone decides; no
header is added or changed, and to the caller the front and its servers are one user agent at one address.
"""

import re
from collections import deque
from dataclasses import dataclass

from harness.model.clock import NS_PER_S

# The front itself: what it refused, it goes on refusing, for as long as a caller may send the request again (64 T1).
LOCAL = ""
_LINGER_NS = 40 * NS_PER_S
# Calls that were begun and never told to be over, at most: far above any trunk.
_MOST_CALLS = 200_000

# RFC 3261 7.3.1: names in any case, white space before the colon; "i" and "t" are the compact forms.
_CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_TO = re.compile(rb"^(?:to|t)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_TAG = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heading:
    """What of a message decides where it goes."""

    call_id: str
    # "" for a response.
    method: str
    # Whether To has a tag: the message belongs to a dialog.
    is_in_dialog: bool

    @property
    def begins_a_call(self) -> bool:
        """An INVITE outside of any dialog."""
        return self.method == "INVITE" and not self.is_in_dialog


def heading(data: bytes) -> Heading | None:
    """Read a message's heading; None where it has no Call-ID that can be read, and nobody can say whose it is."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    found, to = _CALL_ID.search(head), _TO.search(head)
    if found is None or to is None:
        return None
    method = "" if head.startswith(b"SIP/2.0") else head.split(b" ", 1)[0].decode("latin-1")
    # A tag inside of the angle brackets is a parameter of the URI, not of the header.
    outside = to[1].rpartition(b">")[2] if b">" in to[1] else to[1]
    return Heading(found[1].decode("latin-1"), method, _TAG.search(outside) is not None)


@dataclass(slots=True)
class _Route:
    server: str
    # None while the call lasts.
    forget_at_ns: int | None = None
    # Whether a server has answered: then nobody else may.
    is_answered: bool = False


class SipRoutes:
    """The calls of every server, and those that were refused here."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        # What is to be forgotten, soonest first: all linger equally long.
        self._lingering: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        """Return how many calls are known, those that linger included."""
        return len(self._routes)

    def server_of(self, call_id: str, now_ns: int) -> str | None:
        """Return who has the call; LOCAL: the front; None: nobody."""
        self._sweep(now_ns)
        route = self._routes.get(call_id)
        return None if route is None else route.server

    def take(self, call_id: str, server: str, now_ns: int) -> None:
        """Give a call to `server`. It is forgotten soon, unless `pin` says that it lasts."""
        self._sweep(now_ns)
        if len(self._routes) >= _MOST_CALLS:
            del self._routes[next(iter(self._routes))]
        self._routes[call_id] = _Route(server)
        self.over(call_id, now_ns)

    def pin(self, call_id: str) -> None:
        """Keep the call until it is over."""
        route = self._routes.get(call_id)
        if route is not None:
            route.forget_at_ns = None

    def answered(self, call_id: str) -> None:
        """Take note that the call's server has sent something."""
        route = self._routes.get(call_id)
        if route is not None:
            route.is_answered = True

    def is_answered(self, call_id: str) -> bool:
        """Tell whether the call's server has sent something: then nobody else may."""
        route = self._routes.get(call_id)
        return route is not None and route.is_answered

    def over(self, call_id: str, now_ns: int) -> None:
        """Take note that the call has ended: what is sent again still finds its server, for a while."""
        route = self._routes.get(call_id)
        if route is not None and route.forget_at_ns is None:
            route.forget_at_ns = now_ns + _LINGER_NS
            self._lingering.append((route.forget_at_ns, call_id))

    def gone(self, server: str, now_ns: int) -> None:
        """Take a server's calls from it: what still comes of them is the front's to refuse.

        A call that was not answered at all goes to another server when its INVITE comes again.
        """
        # First, so that none is forgotten while they are gone through.
        self._sweep(now_ns)
        for call_id, route in [(call_id, route) for call_id, route in self._routes.items() if route.server == server]:
            del self._routes[call_id]
            if route.is_answered:
                self.take(call_id, LOCAL, now_ns)

    def _sweep(self, now_ns: int) -> None:
        while self._lingering and self._lingering[0][0] <= now_ns:
            due_ns, call_id = self._lingering.popleft()
            route = self._routes.get(call_id)
            # One that began anew under the same name stays.
            if route is not None and route.forget_at_ns == due_ns:
                del self._routes[call_id]
