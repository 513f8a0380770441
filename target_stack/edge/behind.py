"""What an edge must know that callers reach through a front (target_stack/servers), and nothing of the front itself."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from harness.protocols.sip.events import Event
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import EndpointCounts


class SipSockets(Protocol):
    """What a SIP edge asks of the shell of its user agent."""

    async def listen(self, host: str, port: int = 0) -> tuple[str, int]:
        """Take datagrams and connections; return the address."""

    async def listen_tcp(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Take connections; return the address."""

    def flush(self) -> None:
        """Send what the agent has to say."""

    def take_counts(self) -> EndpointCounts:
        """Return the counts as they are now."""

    async def aclose(self) -> None:
        """Stop."""


NewSipSockets = Callable[[UserAgent, Callable[[Event], None]], SipSockets]


@dataclass(frozen=True, slots=True)
class Behind:
    """`name` stands in every name that callers are given, so that the front knows whose it is."""

    name: str
    # The front's HTTP: the address it is bound to, maybe a wildcard, and its port.
    front_host: str
    front_port: int
    new_sip_sockets: NewSipSockets
    # Told of each request as its answer is about to leave.
    on_answer: Callable[[web.BaseRequest], None]
