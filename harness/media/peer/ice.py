"""ICE of one peer (RFC 8445): a full agent, then consent for as long as the call lasts (RFC 7675).

Checks go out at once, without the pacing that RFC 8445 asks of agents with many candidates; a peer with one
candidate, the common case, is nominated by the first check. The first pair that works is taken; relayed ones start
a little after the others.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from harness.media.peer.ice_port import DeafPort, Port
from harness.media.spec import Address
from harness.media.timers import Timer, Timers
from harness.protocols import stun
from harness.protocols.webrtc_sdp import Candidate, Transport

NS_PER_S = 1_000_000_000
CONSENT_INTERVAL_S = 5.0
CONSENT_LOST_S = 30.0
_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 1.6
# Pairs checked at once; the others follow at the next retry.
_FLIGHT = 8
_MOST_PAIRS = 64
_MOST_EARLY = 16
# What a direct pair has to work before a relayed one is tried beside it.
_RELAY_WAIT_S = 0.3
# RFC 8445 5.1.2.1.
_TYPE_PREFERENCE = {"host": 126, "srflx": 100, "relay": 0}


class State(Enum):
    """Of a pair."""

    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Pair:
    """One of our ports and one of the peer's addresses."""

    port: Port
    remote: Address
    remote_type: str
    priority: int
    # Of our side; known better once the peer has said how it sees us.
    local_type: str = "host"
    state: State = State.WAITING
    # Why it failed, where somebody said.
    reason: str = ""
    is_nominating: bool = False
    # The peer, controlling, has chosen this pair.
    is_chosen: bool = False
    transaction: bytes = b""
    packet: bytes = b""
    retry_s: float = _FIRST_RETRY_S
    due_ns: int = 0


@dataclass(slots=True, eq=False)
class _Remote:
    username: bytes
    password: bytes
    pairs: list[Pair] = field(default_factory=list)


def _candidate(kind: str, address: Address, place: int, related: Address | None = None) -> Candidate:
    priority = (_TYPE_PREFERENCE[kind] << 24) | ((65535 - place) << 8) | 255
    return Candidate(address[0], address[1], priority, kind, str(place + 1), related=related)


# What a check says its source would be worth as a peer-reflexive candidate: type preference 110.
_CHECK_PRIORITY = (110 << 24) | (65535 << 8) | 255


class IceAgent:
    """Finds a working pair, calls `on_selected`, keeps consent; calls `on_lost` when consent is gone."""

    def __init__(
        self,
        ports: list[Port],
        timers: Timers,
        *,
        is_controlling: bool,
        on_selected: Callable[[Pair], None],
        on_dtls: Callable[[bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(16)
        self._key = self.password.encode()
        self._ports = list(ports)
        self._timers = timers
        self._is_controlling = is_controlling
        self._tie_breaker = secrets.randbits(64)
        self._on_selected = on_selected
        self._on_dtls = on_dtls
        self._on_lost = on_lost
        self._remote: _Remote | None = None
        self._attributes: dict[bool, bytes] = {}
        self._early: list[tuple[Port, Address, stun.Message]] = []
        self._timer: Timer | None = None
        self._consent_at_ns = 0
        self._claimed: list[tuple[Port, Address]] = []
        self.selected: Pair | None = None
        # How servers see our ports.
        self._reflexive: set[Address] = set()
        self._relays_from_ns = 0
        # In the order given, which their priorities follow.
        self.candidates = tuple(_candidate("host", port.address, i) for i, port in enumerate(ports))
        for port in ports:
            port.owners[self.ufrag.encode()] = self

    def add_relay(self, port: Port) -> None:
        """Announce and use a relayed address, too. Before `begin`."""
        self._ports.append(port)
        port.owners[self.ufrag.encode()] = self
        # RFC 8839 5.1: the related address may be hidden, and nobody needs it.
        unspecified = ("::" if ":" in port.address[0] else "0.0.0.0", 9)
        self.candidates += (_candidate("relay", port.address, len(self.candidates), unspecified),)

    def add_reflexive(self, port: Port, mapped: Address) -> None:
        """Announce how a server sees a port of ours. Before `begin`."""
        if mapped not in self._reflexive:
            self._reflexive.add(mapped)
            self.candidates += (_candidate("srflx", mapped, len(self.candidates), port.address),)

    def replace_port(self, old: Port, new: Port) -> None:
        """Check from `new` instead of the announced `old`; the peer learns of it by our checks. Before `begin`."""
        old.owners.pop(self.ufrag.encode(), None)
        new.owners[self.ufrag.encode()] = self
        self._ports = [new if port is old else port for port in self._ports]
        self._early = [early for early in self._early if early[0] is not old]

    def begin(self, remote: Transport) -> None:
        """Check the peer's candidates, and those addresses from which it has checked us already."""
        username = f"{remote.ufrag}:{self.ufrag}".encode()
        self._remote = _Remote(username, remote.password.encode())
        self._pack_attributes()
        ordered = sorted(usable(remote.candidates), key=lambda c: -c.priority)
        for candidate in ordered:
            for port in self._ports:
                self._add_pair(port, (candidate.host, candidate.port), candidate.type, candidate.priority)
        if any(port.kind != "relay" for port in self._ports):
            self._relays_from_ns = time.monotonic_ns() + int(_RELAY_WAIT_S * NS_PER_S)
        early, self._early = self._early, []
        for port, source, message in early:
            self._checked_by_peer(port, source, message)
        self._retry()

    def describe(self) -> str:
        """Return which pairs were tried and how they stand, for an error message."""
        if self._remote is None:
            return "no answer yet"
        pairs = self._remote.pairs
        if not pairs:
            return "the agent's SDP has no usable candidate (UDP, by IP address), and no check came from it"
        tried = ", ".join(_in_words(pair) for pair in pairs[:4])
        return tried + (f" and {len(pairs) - 4} more" if len(pairs) > 4 else "")

    def close(self) -> None:
        """Let go of ports, claims and timers."""
        if self._timer is not None:
            self._timer.cancel()
        for port in self._ports:
            port.owners.pop(self.ufrag.encode(), None)
        for pair in self._remote.pairs if self._remote is not None else ():
            pair.port.checks.pop(pair.transaction, None)
        for port, address in self._claimed:
            port.release(address, self)
        self._claimed.clear()
        self._remote = None
        # Who made this agent holds it, and these hold who made it.
        self._on_selected = self._on_dtls = self._on_lost = _forget

    def fall_silent(self) -> None:
        """Answer no check and ask for no consent any more; what the selected pair still sends goes nowhere."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for port in self._ports:
            port.owners.pop(self.ufrag.encode(), None)
        if self.selected is not None:
            self._forget_check(self.selected)
            self.selected.port = DeafPort(self.selected.port)

    # --- pairs ---------------------------------------------------------------------------------------------------

    def _pack_attributes(self) -> None:
        remote = self._remote
        if remote is None:
            return
        for nominate in (False, True):
            self._attributes[nominate] = stun.request_attributes(
                remote.username,
                _CHECK_PRIORITY,
                self._tie_breaker,
                is_controlling=self._is_controlling,
                use_candidate=nominate and self._is_controlling,
            )

    def _add_pair(self, port: Port, address: Address, kind: str, priority: int) -> Pair | None:
        remote = self._remote
        if remote is None or len(remote.pairs) >= _MOST_PAIRS or (":" in port.address[0]) != (":" in address[0]):
            return None
        known = next((p for p in remote.pairs if p.port is port and p.remote == address), None)
        if known is not None or not port.claim(address, self):
            return known
        self._claimed.append((port, address))
        pair = Pair(port, address, kind, priority, port.kind)
        remote.pairs.append(pair)
        return pair

    def _check(self, pair: Pair, now_ns: int) -> None:
        """Send the pair's check, a new one or once more."""
        if not pair.transaction:
            pair.transaction = secrets.token_bytes(12)
            pair.packet = stun.seal(
                stun.Kind.REQUEST, pair.transaction, self._attributes[pair.is_nominating], self._remote_key()
            )
            pair.port.checks[pair.transaction] = self
            pair.retry_s = _FIRST_RETRY_S
        if pair.state is State.WAITING:
            pair.state = State.IN_PROGRESS
        pair.due_ns = now_ns + int(pair.retry_s * NS_PER_S)
        pair.retry_s = min(2 * pair.retry_s, _LAST_RETRY_S)
        pair.port.send(pair.packet, pair.remote)

    def _remote_key(self) -> bytes:
        return self._remote.password if self._remote is not None else b""

    def _forget_check(self, pair: Pair) -> None:
        pair.port.checks.pop(pair.transaction, None)
        pair.transaction = b""

    def _retry(self) -> None:
        """Send what is due and come back while no pair is selected."""
        self._timer = None
        remote = self._remote
        if remote is None or self.selected is not None:
            return
        now_ns = time.monotonic_ns()
        if self._is_controlling and len(remote.pairs) == 1 and remote.pairs[0].state is State.WAITING:
            remote.pairs[0].is_nominating = True
        begun = 0
        for pair in remote.pairs:
            if pair.state is State.WAITING and pair.port.kind == "relay" and now_ns < self._relays_from_ns:
                continue
            if pair.state is State.WAITING and begun < _FLIGHT:
                begun += 1
                self._check(pair, now_ns)
            elif pair.transaction and pair.due_ns <= now_ns:
                self._check(pair, now_ns)
        self._timer = self._timers.after(_FIRST_RETRY_S, self._retry)

    # --- what arrives ----------------------------------------------------------------------------------------------

    def dtls_arrived(self, data: bytes, source: Address) -> None:
        """Take DTLS from a claimed address: of the selected pair, or of one about to be."""
        if self.selected is None or self.selected.remote == source:
            self._on_dtls(data)

    def request_arrived(self, port: Port, message: stun.Message, data: bytes, source: Address) -> None:
        """Answer a check or a consent check of the peer."""
        if not stun.is_authentic(message, data, self._key):
            return
        if self._refuses_role(port, message, source):
            return
        port.send(stun.success(message.transaction, source, self._key), source)
        if self.selected is None:
            self._checked_by_peer(port, source, message)

    def _refuses_role(self, port: Port, message: stun.Message, source: Address) -> bool:
        """RFC 8445 7.3.1.1: the larger tie-breaker controls."""
        claimed = message.controlling if self._is_controlling else message.controlled
        if claimed is None:
            return False
        keeps = self._tie_breaker >= claimed
        if keeps == self._is_controlling:
            port.send(stun.role_conflict(message.transaction, self._key), source)
            return True
        self._switch_role()
        return False

    def _switch_role(self) -> None:
        self._is_controlling = not self._is_controlling
        self._pack_attributes()
        for pair in self._remote.pairs if self._remote is not None else ():
            self._forget_check(pair)
            pair.is_nominating = False
            if pair.state is State.IN_PROGRESS:
                pair.state = State.WAITING

    def _checked_by_peer(self, port: Port, source: Address, message: stun.Message) -> None:
        remote = self._remote
        if remote is None:
            if len(self._early) < _MOST_EARLY:
                self._early.append((port, source, message))
            return
        pair = next((p for p in remote.pairs if p.remote == source and p.port is port), None)
        pair = pair or self._add_pair(port, source, "prflx", message.priority)
        if pair is None:
            return
        pair.is_chosen = pair.is_chosen or (message.use_candidate and not self._is_controlling)
        if pair.state is State.SUCCEEDED:
            self._take_if_agreed(pair)
        elif pair.state in (State.WAITING, State.FAILED):
            # Triggered check (RFC 8445 7.3.1.4).
            pair.state = State.WAITING
            self._check(pair, time.monotonic_ns())

    def response_arrived(self, port: Port, message: stun.Message, data: bytes, source: Address) -> None:
        """Take the answer to a check of ours."""
        remote = self._remote
        if remote is None or not stun.is_authentic(message, data, remote.password):
            return
        pair = next((p for p in remote.pairs if p.transaction == message.transaction), None)
        if pair is None or pair.port is not port or pair.remote != source:
            return
        self._forget_check(pair)
        if message.kind is stun.Kind.ERROR:
            self._refused(pair, message)
            return
        self._consent_at_ns = time.monotonic_ns()
        if pair is self.selected:
            return
        pair.state = State.SUCCEEDED
        pair.local_type = self._type_seen(port, stun.mapped_address(data))
        if not self._is_controlling or pair.is_nominating:
            self._take_if_agreed(pair)
        elif not any(p.is_nominating for p in remote.pairs):
            pair.is_nominating = True
            self._check(pair, self._consent_at_ns)

    def _type_seen(self, port: Port, mapped: Address | None) -> str:
        """RFC 8445 7.2.5.3.1: a pair's local candidate is the one that has the address the peer sees."""
        if port.kind == "relay" or mapped is None or mapped == port.address:
            return port.kind
        return "srflx" if mapped in self._reflexive else "prflx"

    def peer_refused(self, port: Port, address: Address, reason: str) -> None:
        """Give a pair up to whose remote address our relay does not relay."""
        for pair in self._remote.pairs if self._remote is not None else ():
            if pair.port is port and pair.remote == address:
                self._give_up(pair, reason)

    def port_lost(self, port: Port, reason: str) -> None:
        """Give the pairs of a relay up that is gone."""
        for pair in list(self._remote.pairs) if self._remote is not None else ():
            if pair.port is port:
                self._give_up(pair, reason)

    def _give_up(self, pair: Pair, reason: str) -> None:
        if pair is self.selected:
            self._on_lost(reason)
        else:
            self._forget_check(pair)
            pair.state, pair.reason, pair.is_nominating = State.FAILED, reason, False

    def _refused(self, pair: Pair, message: stun.Message) -> None:
        if message.error_code == stun.ROLE_CONFLICT and self.selected is None:
            self._switch_role()
            pair.state = State.WAITING
        elif pair is not self.selected:
            pair.state, pair.is_nominating = State.FAILED, False

    def _take_if_agreed(self, pair: Pair) -> None:
        """Select a pair that works both ways once it is nominated."""
        remote = self._remote
        is_agreed = pair.is_nominating if self._is_controlling else pair.is_chosen
        if remote is None or not is_agreed or self.selected is not None:
            return
        self.selected = pair
        for other in remote.pairs:
            if other is not pair:
                self._forget_check(other)
        remote.pairs = [pair]
        for port, address in self._claimed:
            if port is not pair.port or address != pair.remote:
                port.release(address, self)
        self._claimed = [(pair.port, pair.remote)]
        if self._timer is not None:
            self._timer.cancel()
        self._await_consent()
        self._on_selected(pair)

    # --- consent -----------------------------------------------------------------------------------------------------

    def _await_consent(self) -> None:
        # RFC 7675 5.1: each interval is drawn anew, so that calls do not check together.
        self._timer = self._timers.after(CONSENT_INTERVAL_S * random.uniform(0.8, 1.2), self._ask_consent)

    def _ask_consent(self) -> None:
        pair, now_ns = self.selected, time.monotonic_ns()
        if pair is None or self._remote is None:
            return
        if now_ns - self._consent_at_ns > CONSENT_LOST_S * NS_PER_S:
            self._timer = None
            self._on_lost("the agent stopped answering consent checks (RFC 7675)")
            return
        self._forget_check(pair)
        pair.is_nominating = False
        self._check(pair, now_ns)
        self._await_consent()


def _in_words(pair: Pair) -> str:
    ours = f"{pair.port.address[0]}{' (relayed)' if pair.port.kind == 'relay' else ''}"
    why = f" ({pair.reason})" if pair.reason else ""
    return f"{ours} -> {pair.remote[0]}:{pair.remote[1]} {pair.state.value}{why}"


def usable(candidates: tuple[Candidate, ...]) -> list[Candidate]:
    """Leave out what we cannot check: TCP, RTCP's own component, and names (mDNS would multicast)."""
    return [c for c in candidates if c.transport == "udp" and c.component == 1 and not c.host.endswith(".local")]


def _forget(*_: object) -> None:
    """Stand in for what an agent that was closed has nobody to tell."""
