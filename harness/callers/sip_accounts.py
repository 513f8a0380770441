"""The accounts of an engine at their registrars (RFC 3261 10): registered once, refreshed, taken away at the end.

A registration that failed is not tried again for some seconds: the calls that are due meanwhile fail by the same cause.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.callers.setup_failure import SetupFailure
from harness.callers.sip_causes import cause_of, refusal
from harness.model.clock import NS_PER_S, monotonic_ns, ms_between
from harness.model.sip_facts import SipRegistration
from harness.protocols.sip.digest import DigestClient
from harness.protocols.sip.events import Event, Registered, RegistrationFailed, Unregistered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent

if TYPE_CHECKING:
    from harness.protocols.sip.handles import Registration

_NOT_AGAIN_FOR_NS = 5 * NS_PER_S
_GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who registers, and where."""

    registrar: str
    address_of_record: str
    routes: tuple[str, ...] = ()
    username: str | None = None


class _Binding:
    """One account's registration, from the REGISTER to its end."""

    def __init__(self, told: Callable[[SipRegistration], None]) -> None:
        self._told = told
        self.registration: Registration | None = None
        self.sent_at_ns: int | None = monotonic_ns()
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Asked for by nobody any more when it fails between two calls.
        self.settled.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.gone: asyncio.Event = asyncio.Event()
        self.failed_at_ns: int | None = None
        self.failure: SetupFailure | None = None

    @property
    def is_usable(self) -> bool:
        """Whether calls need no other registration: it holds, is under way, or failed a moment ago."""
        return self.failed_at_ns is None or monotonic_ns() - self.failed_at_ns < _NOT_AGAIN_FOR_NS

    def on_sip(self, event: Event) -> None:
        """Take what the user agent tells of it."""
        match event:
            case Registered():
                self._tell(event.at_ns, event.response.status)
                if not self.settled.done():
                    self.settled.set_result(None)
            case RegistrationFailed():
                self._tell(event.at_ns, None if event.response is None else event.response.status)
                self._fail(event)
            case Unregistered():
                self.gone.set()

    def _tell(self, at_ns: int, status: int | None) -> None:
        # When a refresh was sent is the user agent's own business, so that its delay is not known.
        delay_ms = None if self.sent_at_ns is None else ms_between(self.sent_at_ns, at_ns)
        self.sent_at_ns = None
        self._told(SipRegistration(status, delay_ms))

    def _fail(self, event: RegistrationFailed) -> None:
        self.gone.set()
        self.failed_at_ns = event.at_ns
        failure = "response" if event.response is not None else "timeout" if event.status == 408 else "transport"
        detail = refusal("REGISTER", event.status, event.reason)
        self.failure = SetupFailure(cause_of(event.status, failure, 1), detail)
        if not self.settled.done():
            self.settled.set_exception(self.failure)


class Accounts:
    """Keeps the accounts of an engine registered. `flush` is the endpoint's."""

    def __init__(self, agent: UserAgent, flush: Callable[[], None]) -> None:
        self._agent = agent
        self._flush = flush
        self._bindings: dict[Account, _Binding] = {}
        # Told by the record of the next call that ends.
        self._untold: list[SipRegistration] = []

    async def registered(self, account: Account, flow: Flow, auth: DigestClient | None) -> None:
        """Return when the account is registered; SetupFailure tells why it is not."""
        binding = self._bindings.get(account)
        if binding is None or not binding.is_usable:
            binding = self._bindings[account] = _Binding(self._untold.append)
            binding.registration = self._agent.register(
                account.registrar,
                flow,
                monotonic_ns(),
                aor=account.address_of_record,
                routes=account.routes,
                auth=auth,
                owner=binding,
            )
            self._flush()
        if binding.failure is not None:
            raise binding.failure
        await asyncio.shield(binding.settled)

    def take_untold(self) -> tuple[SipRegistration, ...]:
        """Return the registrations made since this was asked last."""
        if not self._untold:
            return ()
        told, self._untold[:] = tuple(self._untold), []
        return told

    async def aclose(self) -> None:
        """Take every binding away; registrars that do not answer are not waited for long."""
        held = [b for b in self._bindings.values() if b.registration is not None and b.failed_at_ns is None]
        for binding in held:
            if binding.registration is not None:
                binding.registration.remove(monotonic_ns())
        self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await asyncio.gather(*(binding.gone.wait() for binding in held))
        self._bindings.clear()
