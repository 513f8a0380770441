"""The SIP side of an engine: one user agent for all its calls, with its sockets, accounts and the silences asked for.

A call asks for a `flow`, calls the `agent`, `flush`es behind that, and is told events by `on_sip`.
"""

import logging
import secrets
from typing import Any, Protocol, cast

from harness.callers.conduct import Conduct
from harness.callers.conduct_endpoint import ConductEndpoint
from harness.callers.sip_accounts import Account, Accounts
from harness.callers.sip_hop import MOST_KEPT, UDP, Hop, Hops
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.plan import SipSpec
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import DigestClient
from harness.protocols.sip.events import CallEvent, Event, Registered, RegistrationFailed, Unregistered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent

_logger = logging.getLogger(__name__)


class Owner(Protocol):
    """What a call or registration belongs to."""

    def on_sip(self, event: Event) -> None:
        """Take an event."""


class Rider(Protocol):
    """A call that goes over a connection."""

    def on_lost(self, why: str) -> None:
        """Learn that the connection is gone."""


class SipHost:
    """Belongs to one engine, on its event loop; opens nothing before the first call over SIP."""

    def __init__(self, config: AgentConfig | None = None) -> None:
        self.agent = UserAgent(config or AgentConfig(invites=False), seed=secrets.randbits(62))
        self.endpoint = ConductEndpoint(self.agent, self._on_event, self._on_lost)
        self.flush = self.endpoint.flush
        self._hops = Hops(self.endpoint)
        self._accounts = Accounts(self.agent, self.flush)
        self._credentials: dict[tuple[str, str], DigestClient] = {}
        # Calls by the number of the connection they go over.
        self._riders: dict[int, set[Rider]] = {}
        # Until when nothing is to be asked of a hop, monotonic ns.
        self._silent_until_ns: dict[Hop, int] = {}
        self.take_registrations = self._accounts.take_untold

    async def flow(self, hop: Hop, spec: SipSpec) -> Flow:
        """Return a flow to `hop`. Raises SetupFailure, GeneratorError."""
        return await self._hops.flow(hop, spec)

    async def registered(self, account: Account, flow: Flow, spec: SipSpec) -> None:
        """Return when the account is registered; SetupFailure tells why it is not."""
        await self._accounts.registered(account, flow, self.credentials(spec))

    def credentials(self, spec: SipSpec) -> DigestClient | None:
        """Return what answers challenges: one for all calls of an account, so that a nonce serves many."""
        if spec.username is None:
            return None
        key = (spec.username, spec.password or "")
        if key not in self._credentials:
            self._credentials[key] = DigestClient(*key)
        return self._credentials[key]

    def mind(self, call_id: str, conduct: Conduct) -> None:
        """Have a call's messages leave as its conduct has them."""
        if not conduct.is_proper:
            self.endpoint.mind(call_id, conduct)

    def ride(self, flow: Flow, rider: Rider) -> None:
        """Tell `rider` when the connection of `flow` is gone; a datagram's flow never is."""
        if flow.connection:
            self._riders.setdefault(flow.connection, set()).add(rider)

    def alight(self, flow: Flow, rider: Rider) -> None:
        """Tell it no more."""
        riders = self._riders.get(flow.connection)
        if riders is not None:
            riders.discard(rider)
            if not riders:
                del self._riders[flow.connection]

    def _on_lost(self, flow: Flow, why: str) -> None:
        for rider in self._riders.pop(flow.connection, ()):
            rider.on_lost(why)

    def ask_silence(self, hop: Hop, seconds: int) -> None:
        """Ask nothing of `hop` for so long: it answered 503 with Retry-After (RFC 3261 21.5.4)."""
        until_ns = monotonic_ns() + seconds * NS_PER_S
        if hop not in self._silent_until_ns and len(self._silent_until_ns) >= MOST_KEPT:
            # Redirects may name any number of hops: the one that is over first gives way.
            del self._silent_until_ns[min(self._silent_until_ns, key=self._silent_until_ns.__getitem__)]
        self._silent_until_ns[hop] = max(until_ns, self._silent_until_ns.get(hop, 0))

    def silence_left_s(self, hop: Hop) -> float:
        """Return for how long `hop` still wants to be left alone, 0 where it does not."""
        until_ns = self._silent_until_ns.get(hop)
        if until_ns is None:
            return 0.0
        left_s = (until_ns - monotonic_ns()) / NS_PER_S
        if left_s <= 0:
            del self._silent_until_ns[hop]
        return max(0.0, left_s)

    def is_silenced(self, remote: tuple[str, int]) -> bool:
        """Whether what is reached there over UDP still wants to be left alone."""
        if not self._silent_until_ns:
            return False
        hops = [hop for hop in self._silent_until_ns if hop.transport == UDP and (hop.host, hop.port) == remote]
        return any(self.silence_left_s(hop) > 0 for hop in hops)

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel dropped because we read too slowly, since the start."""
        self.endpoint.take_counts()
        return self.endpoint.counts.dropped

    async def aclose(self) -> None:
        """Take registrations away and close every socket."""
        await self._accounts.aclose()
        await self.endpoint.aclose()

    def _on_event(self, event: Event) -> None:
        owner = cast("Owner | None", _owner_of(event))
        if owner is not None:
            try:
                owner.on_sip(event)
            except Exception:
                _logger.exception("a SIP event of one call could not be taken; the others go on")


def _owner_of(event: Event) -> Any:
    if isinstance(event, CallEvent):
        return event.call.owner
    if isinstance(event, Registered | RegistrationFailed | Unregistered):
        return event.registration.owner
    return None
