"""A relayed address on a TURN server, as a port that a peer sends from (RFC 8656)."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic_ns

from harness.media.peer.ice_port import MediaPath, Owner, Port
from harness.media.peer.relay_carrier import BridgeDelay, Carrier, RelayError
from harness.media.spec import Address
from harness.media.timers import Timer, Timers
from harness.protocols.turn import TurnClient
from harness.protocols.turn_events import (
    Allocated,
    Bound,
    Event,
    Lost,
    PeerRefused,
    Received,
    Refused,
    Released,
)

_logger = logging.getLogger(__name__)


class RelayPort(Port):
    """One call's allocation. `allocate` first; `close` gives it back and lets go of the sockets when that is done."""

    kind = "relay"

    def __init__(
        self, name: str, client: TurnClient, carrier: Carrier, timers: Timers, on_over: Callable[["RelayPort"], None]
    ) -> None:
        super().__init__()
        # Its server's URL.
        self.name = name
        self.address = ("0.0.0.0", 9)
        self._client = client
        self._carrier = carrier
        self._timers = timers
        self._on_over = on_over
        self._timer: Timer | None = None
        self._timer_at_ns: int | None = None
        self._is_pumping = False
        self._is_over = False
        # Gone, or of no use for a peer of ours any more, without our doing.
        self.is_lost = False
        self._granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bound: dict[Address, asyncio.Future[None]] = {}
        # Why there is no way to a peer, or to any: who asks for one later is told at once.
        self._refusals: dict[Address, str] = {}
        self._gone: str | None = None
        carrier.begin(self._frame_arrived, self._lost)

    async def allocate(self) -> None:
        """Wait for the relayed address, which `address` then is; raises RelayError."""
        self._client.begin(monotonic_ns())
        self._pump()
        await self._granted

    @property
    def bridge_delay(self) -> BridgeDelay | None:
        """What a bridge of ours adds on the way out; None where there is none."""
        return self._carrier.bridge_delay

    def send(self, data: bytes, to: Address) -> None:
        """Relay one datagram."""
        self._client.send(to, data, monotonic_ns())
        self._pump()

    async def path(self, remote: Address) -> MediaPath:
        """Return the way through the channel to `remote`, once that is bound; raises RelayError."""
        if reason := self._gone or self._refusals.get(remote):
            raise RelayError(reason)
        channel = self._client.channel(remote)
        if channel is None:
            bound = self._bound[remote] = asyncio.get_running_loop().create_future()
            try:
                await bound
            finally:
                del self._bound[remote]
            channel = self._client.channel(remote)
        if channel is None:
            raise RelayError(f"TURN {self.name} has no channel to {remote[0]}:{remote[1]}")
        return self._carrier.path(channel)

    def release(self, address: Address, owner: Owner) -> None:
        """Give a claimed address back; its permission and channel are renewed no more."""
        super().release(address, owner)
        self._client.forget(address)

    def close(self) -> None:
        """Give the allocation back (RFC 8656 7.2: a lifetime of zero)."""
        self.owners.clear()
        self.checks.clear()
        self.claims.clear()
        self._client.release(monotonic_ns())
        self._pump()

    def abandon(self) -> None:
        """Let go of the sockets now, whether the server has answered or not."""
        if self._is_over:
            return
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._carrier.close()
        self._on_over(self)

    # --- the client, its timer and its events ------------------------------------------------------------------------

    def _frame_arrived(self, frame: bytes) -> None:
        self._client.receive(frame, monotonic_ns())
        self._pump()

    def _expire(self) -> None:
        self._timer = self._timer_at_ns = None
        self._client.handle_timers(monotonic_ns())
        self._pump()

    def _pump(self) -> None:
        """Send what the client has to send and act on what it tells, until it has no more."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            told = True
            while told:
                for frame in self._client.outgoing():
                    self._carrier.send(frame)
                events = self._client.events()
                for event in events:
                    self._take(event)
                told = bool(events)
        finally:
            self._is_pumping = False
        self._arm()

    def _arm(self) -> None:
        at_ns = self._client.next_timer_ns
        if at_ns == self._timer_at_ns or self._is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = at_ns
        self._timer = None if at_ns is None else self._timers.at(at_ns, self._expire)

    def _take(self, event: Event) -> None:
        match event:
            case Received():
                self.arrived(event.data, event.peer)
            case Allocated():
                self.address = event.relayed
                if not self._granted.done():
                    self._granted.set_result(None)
            case Bound():
                self._answer(event.peer)
            case PeerRefused():
                self._peer_refused(event)
            case Refused():
                self._refused(event.reason)
            case Lost():
                self._lost(event.reason)
            case Released():
                self.abandon()

    def _answer(self, peer: Address, error: RelayError | None = None) -> None:
        waiting = self._bound.get(peer)
        if waiting is None or waiting.done():
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)

    def _peer_refused(self, event: PeerRefused) -> None:
        self.is_lost = True
        reason = self._refusals[event.peer] = f"TURN {self.name} {event.reason}"
        self._answer(event.peer, RelayError(reason))
        owner = self.claims.get(event.peer)
        if owner is not None:
            owner.peer_refused(self, event.peer, reason)

    def _refused(self, reason: str) -> None:
        if not self._granted.done():
            self._granted.set_exception(RelayError(f"TURN {self.name} {reason}"))
        self.abandon()

    def _lost(self, reason: str) -> None:
        """Tell who uses the allocation that it is gone, or the connection that carries it."""
        if not self._granted.done():
            self._refused(reason)
            return
        self.is_lost = True
        self._gone = f"TURN {self.name} {reason}"
        owners = list(self.owners.values())
        for peer in list(self._bound):
            self._answer(peer, RelayError(self._gone))
        self.abandon()
        for owner in owners:
            owner.port_lost(self, f"the relay is gone: {self._gone}")
