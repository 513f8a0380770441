"""A call that was begun elsewhere goes on here: its history is told to the user agent, which sends nothing of it again.

What the calls of `harness/callers/plain` do as long as they are plain, the user agent does from then on: after `resume`
it stands where it would had it sent and received everything itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.events import Event
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.handles import Call
from harness.protocols.sip.ids import GivenIds
from harness.protocols.sip.transaction import CALLING, TRYING, Transaction


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of ours that left: when first, how often again, and when it is due again (0 = not any more)."""

    at_ns: int
    resent: int = 0
    again_at_ns: int = 0
    interval_ns: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """An INVITE of ours and what came of it so far; INVITE, ACK and BYE have these branches."""

    uri: str
    flow: Flow
    call_id: str
    tag: str
    branches: tuple[str, str, str]
    invite: Sent
    # What else UserAgent.invite is told.
    options: dict[str, Any] = field(default_factory=dict)
    # Responses to INVITE, with when they came.
    received: tuple[tuple[int, bytes], ...] = ()
    bye: Sent | None = None


class Agent(Protocol):
    """The user agent, as far as it is told."""

    @property
    def invite(self) -> Callable[..., Call]:
        """Send an INVITE."""

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None:
        """Take a message."""


def resume(agent: Agent, endpoint: Endpoint, history: History) -> tuple[Call, list[Event]]:
    """Return the call as it stands, and what its owner would have been told."""
    kept = endpoint.outputs, endpoint.events, endpoint.ids
    endpoint.outputs, endpoint.events = [], []
    endpoint.ids = GivenIds(history.tag, history.branches, endpoint.ids)
    try:
        call = agent.invite(history.uri, history.flow, history.invite.at_ns, call_id=history.call_id, **history.options)
        for at_ns, data in history.received:
            agent.receive(data, history.flow, at_ns)
        if history.bye is not None:
            call.hang_up(history.bye.at_ns)
        told = endpoint.events
    finally:
        endpoint.outputs, endpoint.events, endpoint.ids = kept
    invite, _ack, bye = history.branches
    _retime(endpoint.clients.get(invite + "INVITE"), CALLING, "A", history.invite)
    call.resent = history.invite.resent
    if history.bye is not None:
        _retime(endpoint.clients.get(bye + "BYE"), TRYING, "E", history.bye)
        call.resent += history.bye.resent
    endpoint.counts.resent += call.resent
    return call, told


def _retime(transaction: Transaction | None, state: str, name: str, sent: Sent) -> None:
    """Send again when it is due, not when it would be had nothing been sent again yet."""
    if transaction is None or transaction.state != state or not sent.again_at_ns:
        return
    wheel = transaction.host.wheel
    wheel.cancel(transaction.resend)
    transaction.interval_ns = sent.interval_ns
    transaction.resend = wheel.start(sent.again_at_ns, transaction, name)
