"""A TURN client (RFC 8656), sans-IO: one allocation, the permissions and channels of its peers, each kept alive.

    IDLE --begin--> ALLOCATING --success--> ALLOCATED --release--> RELEASING --answer--> OVER
                        +--- refused, no answer ---> OVER <--- refresh refused ---+

Time is an argument. After every call of a method: send `outgoing()`, look at `events()`, and call `handle_timers` at
`next_timer_ns`. Credentials are long-term ones (RFC 8489 9.2).
"""

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from harness.model.errors import RemoteProtocolError
from harness.protocols import turn_messages as wire
from harness.protocols.stun import Address
from harness.protocols.turn_events import (
    Allocated,
    Bound,
    Event,
    Lost,
    PeerRefused,
    Received,
    Refused,
    Released,
    explain,
)
from harness.protocols.turn_messages import Attribute, Kind, Message, Method

_NS_PER_S = 1_000_000_000
# RFC 8489 6.2.1 and 6.2.2: over UDP seven sends, each interval twice the last, and a wait of 16 RTOs behind them.
RTO_NS = _NS_PER_S // 2
MOST_SENDS = 7
_LAST_WAIT_NS = 16 * RTO_NS
_RELIABLE_WAIT_NS = 79 * RTO_NS
# RFC 8656 3.2, 9, 12: allocations last what the server says, permissions 5 min, channels 10 min.
ASKED_LIFETIME_S = 600
_EARLIEST_REFRESH_NS = 60 * _NS_PER_S
PERMISSION_RENEWAL_NS = 240 * _NS_PER_S
CHANNEL_RENEWAL_NS = 540 * _NS_PER_S
# A goodbye that nobody answers; the allocation then ends by itself.
RELEASE_LIMIT_NS = 4 * _NS_PER_S
_MOST_STALE = 3
# Of a peer whose channel is not bound yet: what waits; checks and handshakes are sent again anyway.
_MOST_HELD = 4

NO_ANSWER = "did not answer"


class State(Enum):
    """Of the allocation."""

    IDLE = "idle"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    RELEASING = "releasing"
    OVER = "over"


@dataclass(slots=True, eq=False)
class _Request:
    method: Method
    # All but the credentials, given the transaction.
    attributes: Callable[[bytes], bytes]
    peer: Address | None = None
    packet: bytes = b""
    is_signed: bool = False
    sends: int = 0
    wait_ns: int = RTO_NS
    due_ns: int = 0
    stale: int = 0


@dataclass(slots=True, eq=False)
class _Peer:
    channel: int
    is_bound: bool = False
    is_permitted: bool = False
    refusal: str = ""
    # None: nothing to renew, or being renewed.
    permit_at_ns: int | None = None
    bind_at_ns: int | None = None
    held: deque[bytes] = field(default_factory=lambda: deque(maxlen=_MOST_HELD))


class TurnClient:
    """One allocation. Over TCP or TLS (`is_reliable`) each of `outgoing()` must be padded (turn_messages.padded)."""

    def __init__(
        self,
        username: str = "",
        credential: str = "",
        *,
        is_reliable: bool = False,
        wants_ipv6: bool = False,
        new_transaction: Callable[[], bytes] = lambda: secrets.token_bytes(12),
    ) -> None:
        self._username = username
        self._credential = credential
        self._is_reliable = is_reliable
        self._wants_ipv6 = wants_ipv6
        self._new_transaction = new_transaction
        self._realm = self._nonce = self._key = b""
        self._requests: dict[bytes, _Request] = {}
        self._peers: dict[Address, _Peer] = {}
        self._by_channel: dict[int, Address] = {}
        self._refresh_at_ns: int | None = None
        self._release_by_ns: int | None = None
        self._outgoing: list[bytes] = []
        self._events: list[Event] = []
        self.state = State.IDLE
        self.relayed: Address | None = None
        # What came and was not TURN for us, or not signed with our key.
        self.ignored = 0
        self.unsigned = 0

    # --- what the owner does -----------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """Ask for an allocation."""
        self.state = State.ALLOCATING
        wanted = wire.pack(Attribute.REQUESTED_TRANSPORT, bytes((wire.UDP, 0, 0, 0)))
        if self._wants_ipv6:
            wanted += wire.pack(Attribute.REQUESTED_ADDRESS_FAMILY, bytes((2, 0, 0, 0)))
        self._request(_Request(Method.ALLOCATE, lambda _: wanted), now_ns)

    def bind(self, peer: Address, now_ns: int) -> None:
        """Have a channel to `peer`, and with it the permission (RFC 8656 12); Bound or PeerRefused follows."""
        if self.state is not State.ALLOCATED:
            return
        known = self._peers.get(peer)
        if known is not None:
            if known.is_bound and known.bind_at_ns is None:
                # Forgotten meanwhile: the number is still this peer's, and is renewed.
                known.bind_at_ns = now_ns
            return
        channel = wire.FIRST_CHANNEL + len(self._peers)
        if channel > wire.LAST_CHANNEL:
            self._events.append(PeerRefused(peer, "has no channel number left for this allocation"))
            return
        self._peers[peer] = _Peer(channel)
        self._by_channel[channel] = peer
        self._bind(peer, channel, now_ns)

    def channel(self, peer: Address) -> int | None:
        """Return the channel that `peer` has, None while it has none."""
        known = self._peers.get(peer)
        return known.channel if known is not None and known.is_bound else None

    def forget(self, peer: Address) -> None:
        """Renew nothing of `peer` any more."""
        known = self._peers.get(peer)
        if known is not None:
            known.permit_at_ns = known.bind_at_ns = None
            known.held.clear()

    def send(self, peer: Address, data: bytes, now_ns: int) -> None:
        """Relay a datagram: through the channel, before there is one by indication, before it is permitted later."""
        if self.state is not State.ALLOCATED:
            return
        if peer not in self._peers:
            self.bind(peer, now_ns)
        known = self._peers.get(peer)
        if known is None or known.refusal:
            return
        if known.is_bound:
            self._outgoing.append(wire.channel_data(known.channel, data))
        elif self._is_permitted(peer[0]):
            self._indicate(peer, data)
        else:
            known.held.append(data)

    def release(self, now_ns: int) -> None:
        """Give the allocation back; Released follows, at once or when the server has answered."""
        if self.state is State.ALLOCATED:
            self.state = State.RELEASING
            self._requests.clear()
            self._refresh_at_ns = None
            self._release_by_ns = now_ns + RELEASE_LIMIT_NS
            self._refresh(0, now_ns)
        elif self.state is State.ALLOCATING:
            # The server may have granted it already: its answer is waited for.
            self._release_by_ns = self._release_by_ns or now_ns + RELEASE_LIMIT_NS
        elif self.state is State.IDLE:
            self._end(Released())

    def outgoing(self) -> list[bytes]:
        """Take what is to be sent to the server, in order."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def events(self) -> list[Event]:
        """Take what has happened, in order."""
        taken, self._events = self._events, []
        return taken

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def next_timer_ns(self) -> int | None:
        """When `handle_timers` has something to do; None = never."""
        times = [request.due_ns for request in self._requests.values()]
        times += [t for p in self._peers.values() for t in (p.permit_at_ns, p.bind_at_ns) if t is not None]
        times += [t for t in (self._refresh_at_ns, self._release_by_ns) if t is not None]
        return min(times, default=None)

    def handle_timers(self, now_ns: int) -> None:
        """Send again what was not answered, renew what is about to end."""
        if self._release_by_ns is not None and now_ns >= self._release_by_ns:
            self._end(Released())
        for transaction, request in list(self._requests.items()):
            if now_ns >= request.due_ns and transaction in self._requests:
                self._again(transaction, request, now_ns)
        if self._refresh_at_ns is not None and now_ns >= self._refresh_at_ns:
            self._refresh_at_ns = None
            self._refresh(ASKED_LIFETIME_S, now_ns)
        for address, peer in self._peers.items():
            if peer.permit_at_ns is not None and now_ns >= peer.permit_at_ns:
                peer.permit_at_ns = None
                self._permit(address, now_ns)
            if peer.bind_at_ns is not None and now_ns >= peer.bind_at_ns:
                peer.bind_at_ns = None
                self._bind(address, peer.channel, now_ns)

    def _again(self, transaction: bytes, request: _Request, now_ns: int) -> None:
        if self._is_reliable or request.sends >= MOST_SENDS:
            del self._requests[transaction]
            why = ", or not with our password's signature" if self.unsigned else ""
            self._failed(request, NO_ANSWER + why)
            return
        request.sends += 1
        request.wait_ns *= 2
        request.due_ns = now_ns + (_LAST_WAIT_NS if request.sends == MOST_SENDS else request.wait_ns)
        self._outgoing.append(request.packet)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _request(self, request: _Request, now_ns: int) -> None:
        """Send a request, a new one or one whose credentials have changed."""
        transaction = self._new_transaction()
        attributes = request.attributes(transaction)
        if self._key:
            attributes += wire.pack(Attribute.USERNAME, self._username.encode())
            attributes += wire.pack(Attribute.REALM, self._realm) + wire.pack(Attribute.NONCE, self._nonce)
        request.is_signed = bool(self._key)
        request.packet = wire.build(request.method, Kind.REQUEST, transaction, attributes, self._key)
        request.sends, request.wait_ns = 1, RTO_NS
        request.due_ns = now_ns + (_RELIABLE_WAIT_NS if self._is_reliable else RTO_NS)
        self._requests[transaction] = request
        self._outgoing.append(request.packet)

    def _refresh(self, lifetime_s: int, now_ns: int) -> None:
        lifetime = wire.pack_number(Attribute.LIFETIME, lifetime_s)
        self._request(_Request(Method.REFRESH, lambda _: lifetime), now_ns)

    def _permit(self, peer: Address, now_ns: int) -> None:
        request = _Request(
            Method.CREATE_PERMISSION, lambda t: wire.pack_address(Attribute.XOR_PEER_ADDRESS, peer, t), peer
        )
        self._request(request, now_ns)

    def _bind(self, peer: Address, channel: int, now_ns: int) -> None:
        number = wire.pack_number(Attribute.CHANNEL_NUMBER, channel << 16)
        request = _Request(
            Method.CHANNEL_BIND, lambda t: number + wire.pack_address(Attribute.XOR_PEER_ADDRESS, peer, t), peer
        )
        self._request(request, now_ns)

    def _indicate(self, peer: Address, data: bytes) -> None:
        transaction = self._new_transaction()
        attributes = wire.pack_address(Attribute.XOR_PEER_ADDRESS, peer, transaction) + wire.pack(Attribute.DATA, data)
        self._outgoing.append(wire.build(Method.SEND, Kind.INDICATION, transaction, attributes))

    def _is_permitted(self, host: str) -> bool:
        return any(peer.is_permitted for address, peer in self._peers.items() if address[0] == host)

    # --- what arrives ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take one datagram, or one frame of a stream, from the server; what is not for us is counted and ignored."""
        try:
            if wire.is_channel_data(data):
                self._channel_data_arrived(data)
            else:
                self._message_arrived(wire.parse(data), data, now_ns)
        except RemoteProtocolError:
            self.ignored += 1

    def _channel_data_arrived(self, data: bytes) -> None:
        channel, payload = wire.read_channel_data(data)
        peer = self._by_channel.get(channel)
        if peer is None:
            self.ignored += 1
        else:
            self._events.append(Received(peer, payload))

    def _message_arrived(self, message: Message, data: bytes, now_ns: int) -> None:
        if message.kind is Kind.INDICATION and message.method == Method.DATA:
            peer, payload = message.address(Attribute.XOR_PEER_ADDRESS), message.attributes.get(Attribute.DATA)
            if peer is not None and payload is not None and self.state is State.ALLOCATED:
                self._events.append(Received(peer, payload))
            return
        request = self._requests.get(message.transaction)
        if request is None or message.method != request.method or message.kind not in (Kind.SUCCESS, Kind.ERROR):
            self.ignored += 1
            return
        if not self._is_believed(message, data):
            self.unsigned += 1
            return
        del self._requests[message.transaction]
        if message.kind is Kind.SUCCESS:
            self._succeeded(request, message, now_ns)
        elif not self._signs_anew(request, message, now_ns):
            self._failed(request, self._explain(request, message), message.error[0])

    def _is_believed(self, message: Message, data: bytes) -> bool:
        """RFC 8489 9.2.5: successes must be signed; of errors, servers sign some, and a forged one only ends a call."""
        if not self._key or (message.kind is Kind.ERROR and not message.integrity_at):
            return True
        return wire.is_authentic(message, data, self._key)

    def _signs_anew(self, request: _Request, message: Message, now_ns: int) -> bool:
        """Answer a challenge, or a nonce that has grown stale; False when the answer is final."""
        code = message.error[0]
        nonce = message.attributes.get(Attribute.NONCE)
        realm = message.attributes.get(Attribute.REALM, self._realm)
        if nonce is None or not self._username:
            return False
        if code == 438:
            request.stale += 1
            if request.stale > _MOST_STALE:
                return False
        elif code != 401 or request.is_signed:
            return False
        if realm != self._realm or not self._key:
            self._key = wire.long_term_key(self._username, realm.decode(errors="replace"), self._credential)
        self._realm, self._nonce = realm, nonce
        self._request(request, now_ns)
        return True

    def _explain(self, request: _Request, message: Message) -> str:
        if message.error[0] == 401 and not request.is_signed and not self._username:
            return "asks for credentials, and none are given (username, credential): 401 Unauthorized"
        return explain(message)

    # --- what came of a request --------------------------------------------------------------------------------------

    def _succeeded(self, request: _Request, message: Message, now_ns: int) -> None:
        peer = self._peers.get(request.peer) if request.peer is not None else None
        if request.method is Method.ALLOCATE:
            self._allocated(message, now_ns)
        elif request.method is Method.REFRESH:
            self._refreshed(message, now_ns)
        elif peer is not None and request.peer is not None:
            self._granted(request.method, request.peer, peer, now_ns)

    def _allocated(self, message: Message, now_ns: int) -> None:
        relayed = message.address(Attribute.XOR_RELAYED_ADDRESS)
        if relayed is None:
            self._end(Refused("granted an allocation without an address"))
            return
        self.state, self.relayed = State.ALLOCATED, relayed
        if self._release_by_ns is not None:
            self.release(now_ns)
            return
        self._keep(message, now_ns)
        self._events.append(Allocated(relayed, message.address(Attribute.XOR_MAPPED_ADDRESS)))

    def _refreshed(self, message: Message, now_ns: int) -> None:
        if self.state is State.RELEASING:
            self._end(Released())
        else:
            self._keep(message, now_ns)

    def _keep(self, message: Message, now_ns: int) -> None:
        """Refresh a minute before the end (RFC 8656 7), or at three quarters of a short life."""
        lifetime_ns = (message.number(Attribute.LIFETIME) or ASKED_LIFETIME_S) * _NS_PER_S
        self._refresh_at_ns = now_ns + lifetime_ns - min(_EARLIEST_REFRESH_NS, lifetime_ns // 4)

    def _granted(self, method: Method, address: Address, peer: _Peer, now_ns: int) -> None:
        # RFC 8656 12.2: binding a channel permits its peer, too.
        peer.is_permitted = True
        peer.permit_at_ns = now_ns + PERMISSION_RENEWAL_NS
        if method is not Method.CHANNEL_BIND:
            return
        peer.bind_at_ns = now_ns + CHANNEL_RENEWAL_NS
        if not peer.is_bound:
            peer.is_bound = True
            self._events.append(Bound(address, peer.channel))
            self._outgoing += [wire.channel_data(peer.channel, data) for data in peer.held]
            peer.held.clear()

    def _failed(self, request: _Request, reason: str, code: int = 0) -> None:
        peer = self._peers.get(request.peer) if request.peer is not None else None
        if self.state is State.RELEASING:
            # 437: the server had let go of it before.
            self._end(Released())
        elif request.method is Method.ALLOCATE:
            self._end(Released() if self._release_by_ns is not None else Refused(reason))
        elif request.method is Method.REFRESH or code == 437:
            self._end(Lost(reason))
        elif peer is not None and request.peer is not None:
            peer.is_bound = peer.is_permitted = False
            peer.permit_at_ns = peer.bind_at_ns = None
            peer.refusal = reason
            peer.held.clear()
            self._events.append(PeerRefused(request.peer, reason))

    def _end(self, event: Event) -> None:
        self.state = State.OVER
        self._requests.clear()
        self._peers.clear()
        self._by_channel.clear()
        self._refresh_at_ns = self._release_by_ns = None
        self._events.append(event)
