"""Who gets a session: the registry's choice, the line to the server and the counts, for every kind alike."""

from collections.abc import Callable
from typing import Any

from target_stack.servers.counts import FrontCounts
from target_stack.servers.link import Link
from target_stack.servers.registry import Level, Registry

KINDS = ("webrtc", "stream", "sip")


class Desk:
    """`limits`: kind -> sessions of it at once over all servers, for kinds that have one."""

    def __init__(self, registry: Registry, counts: FrontCounts, limits: dict[str, int]) -> None:
        self.registry = registry
        self._counts = counts
        self._limits = limits
        self._links: dict[str, Link] = {}
        # Not "": no session begins any more, for this reason.
        self.closed_because = ""

    def connect(self, server: str, link: Link) -> None:
        """Reach `server` by this line from now on."""
        self._links[server] = link

    def disconnect(self, server: str) -> None:
        """Forget a line."""
        self._links.pop(server, None)

    def names(self) -> list[str]:
        """Return the servers that can be reached."""
        return list(self._links)

    def is_lost(self, server: str) -> bool:
        """Tell whether nothing is to be expected of a server."""
        return self.registry.is_lost(server)

    def send(self, server: str, kind: str, payload: bytes = b"", **fields: Any) -> bool:
        """Send a frame; False where there is no way."""
        link = self._links.get(server)
        return link is not None and link.send(kind, payload, **fields)

    def assign(self, kind: str, hand_over: Callable[[str], bool]) -> str | None:
        """Give a new session to the server that has most room; None: to nobody, and it is to be refused.

        `hand_over` tells whether the server could be reached; where not, the next one is tried.
        """
        tried: list[str] = []
        while not self.why_not(kind) and (server := self.registry.choose(tried)) is not None:
            # Counted first: what the server says of it may come before the next line runs.
            self.registry.give(server)
            if hand_over(server):
                self._counts.given[server, kind] += 1
                return server
            self.registry.take_back(server)
            self._counts.rerouted += 1
            tried.append(server)
        return None

    def why_not(self, kind: str) -> str:
        """Say why no session of this kind can begin; "" when one can."""
        if self.closed_because:
            return self.closed_because
        active, limit = self.use(kind)
        if kind in self._limits and active >= limit:
            return f"{active} {kind} calls are active, which is the limit"
        return self.registry.why_not()

    def use(self, kind: str) -> tuple[int, int]:
        """Return how many sessions of this kind there are, those under way included, and how many there may be.

        A kind without a limit of its own may have all that is free.
        """
        servers = self.registry.all()
        active = sum(server.load.calls.get(kind, 0) for server in servers)
        free = max(0, self.registry.capacity - self.registry.in_use)
        if kind in self._limits:
            return active + sum(server.pending for server in servers), self._limits[kind]
        return active, active + free

    def overall(self) -> Level:
        """Return how full all servers are together."""
        return self.registry.overall()
