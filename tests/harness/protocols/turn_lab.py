"""A TURN server with aioice's STUN codec, and a network of virtual time between it and our client."""

import heapq
from dataclasses import dataclass, field

from aioice import stun as foreign
from aioice.turn import make_integrity_key

from harness.protocols.turn import TurnClient
from harness.protocols.turn_events import Received

S = 1_000_000_000
LATENCY_NS = 10_000_000
USER, PASSWORD, REALM = "load", "s3cret", "turn.test"
OURS, RELAYED = ("192.0.2.7", 40000), ("203.0.113.5", 50000)
PEER, OTHER_PEER = ("198.51.100.9", 6000), ("198.51.100.9", 6002)
Method, Class = foreign.Method, foreign.Class


@dataclass
class Server:
    """One client's allocation; what has expired is refused or dropped, as a real server does."""

    lifetime_s: int = 600
    # A nonce is good for so long; None = for ever.
    nonce_s: float | None = None
    # Error codes by method: the next ones to answer with.
    errors: dict = field(default_factory=dict)
    asks_for_credentials: bool = True
    # Sign answers with another password.
    is_impostor: bool = False
    allocated_until: int = 0
    permitted_until: dict = field(default_factory=dict)
    channels: dict = field(default_factory=dict)
    bound_until: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    # What peers got, and what came here without leave.
    delivered: list = field(default_factory=list)
    refused_data: int = 0

    def nonce(self, now):
        return b"nonce-%d" % (0 if self.nonce_s is None else now // int(self.nonce_s * S))

    def receive(self, data, now):
        """Return the answers to one datagram."""
        if data[0] & 0xC0 == 0x40:
            return self._relay(
                self._peer_of(int.from_bytes(data[:2]), now), data[4 : 4 + int.from_bytes(data[2:4])], now
            )
        message = foreign.parse_message(data)
        self.counts[message.message_method] = self.counts.get(message.message_method, 0) + 1
        if message.message_method is Method.SEND:
            return self._relay(message.attributes["XOR-PEER-ADDRESS"], message.attributes["DATA"], now)
        code = self._refusal(message, now)
        if code is not None:
            return [self._error(message, code, now)]
        return [self._answer(message, self._serve(message, now))]

    def _refusal(self, message, now):
        if self.asks_for_credentials:
            if "MESSAGE-INTEGRITY" not in message.attributes:
                return 401
            assert message.attributes["USERNAME"] == USER
            assert message.attributes["REALM"] == REALM
            if not message.check_message_integrity(self._key()):
                return 401
            if message.attributes["NONCE"] != self.nonce(now):
                return 438
        forced = self.errors.get(message.message_method)
        if forced:
            return forced.pop(0)
        if message.message_method is Method.ALLOCATE:
            return None
        return None if now < self.allocated_until else 437

    def _key(self, password=PASSWORD):
        return make_integrity_key(USER, REALM, password)

    def _error(self, message, code, now):
        attributes = {"ERROR-CODE": (code, {401: "Unauthorized", 438: "Stale Nonce"}.get(code, "No"))}
        if code in (401, 438):
            attributes |= {"NONCE": self.nonce(now), "REALM": REALM}
        answer = foreign.Message(message.message_method, Class.ERROR, message.transaction_id, attributes)
        if code not in (401, 438) and self.asks_for_credentials:
            answer.add_message_integrity(self._key())
        return bytes(answer)

    def _serve(self, message, now):
        attributes = message.attributes
        match message.message_method:
            case Method.ALLOCATE:
                assert attributes["REQUESTED-TRANSPORT"] == 17 << 24
                self.allocated_until = now + self.lifetime_s * S
                return {"XOR-RELAYED-ADDRESS": RELAYED, "XOR-MAPPED-ADDRESS": OURS, "LIFETIME": self.lifetime_s}
            case Method.REFRESH:
                lifetime = min(attributes["LIFETIME"], self.lifetime_s)
                self.allocated_until = now + lifetime * S
                return {"LIFETIME": lifetime}
            case Method.CREATE_PERMISSION:
                self.permitted_until[attributes["XOR-PEER-ADDRESS"][0]] = now + 300 * S
            case Method.CHANNEL_BIND:
                peer = attributes["XOR-PEER-ADDRESS"]
                assert self.channels.setdefault(attributes["CHANNEL-NUMBER"], peer) == peer
                self.bound_until[attributes["CHANNEL-NUMBER"]] = now + 600 * S
                self.permitted_until[peer[0]] = now + 300 * S
        return {}

    def _answer(self, message, attributes):
        answer = foreign.Message(message.message_method, Class.RESPONSE, message.transaction_id, attributes)
        if self.asks_for_credentials:
            answer.add_message_integrity(self._key("another" if self.is_impostor else PASSWORD))
        return bytes(answer)

    def _peer_of(self, channel, now):
        return self.channels[channel] if now < self.bound_until.get(channel, 0) else None

    def _relay(self, peer, data, now):
        """Hand to a peer, which echoes."""
        if peer is None or now >= self.permitted_until.get(peer[0], 0) or now >= self.allocated_until:
            self.refused_data += 1
            return []
        self.delivered.append((peer, data))
        return self.from_peer(peer, data, now)

    def from_peer(self, peer, data, now):
        """Return what the client gets of a peer's datagram."""
        if now >= self.permitted_until.get(peer[0], 0):
            return []
        for channel, bound in self.channels.items():
            if bound == peer and now < self.bound_until[channel]:
                return [channel.to_bytes(2) + len(data).to_bytes(2) + data]
        attributes = {"XOR-PEER-ADDRESS": peer, "DATA": data}
        return [bytes(foreign.Message(Method.DATA, Class.INDICATION, attributes=attributes))]


class World:
    """Client and server with a network between them; `fate(n)` says how often the n-th datagram arrives."""

    def __init__(self, server=None, *, fate=lambda n: 1, **options):
        options = {"username": USER, "credential": PASSWORD, **options}
        self.client = TurnClient(**options)
        self.server = server or Server()
        self.now = 1000 * S
        self.events = []
        self.sent = 0
        self._fate = fate
        self._flying = []
        self._count = 0

    def begin(self):
        self.client.begin(self.now)
        self._pump()

    def send(self, peer, data):
        self.client.send(peer, data, self.now)
        self._pump()

    def bind(self, peer):
        self.client.bind(peer, self.now)
        self._pump()

    def release(self):
        self.client.release(self.now)
        self._pump()

    def from_peer(self, peer, data):
        for answer in self.server.from_peer(peer, data, self.now):
            self._fly(answer, self._to_client)

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def echoes(self):
        return [event.data for event in self.told(Received)]

    def run(self, seconds):
        """Let time pass."""
        end = self.now + int(seconds * S)
        while True:
            times = [
                t for t in (self.client.next_timer_ns, self._flying[0][0] if self._flying else None) if t is not None
            ]
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            if self._flying and self._flying[0][0] <= self.now:
                _, _, arrive, data = heapq.heappop(self._flying)
                arrive(data)
            else:
                self.client.handle_timers(self.now)
            self._pump()

    def _pump(self):
        for frame in self.client.outgoing():
            self._fly(frame, self._to_server)
        self.events += self.client.events()

    def _fly(self, data, arrive):
        for _ in range(self._fate(self.sent)):
            self._count += 1
            heapq.heappush(self._flying, (self.now + LATENCY_NS, self._count, arrive, data))
        self.sent += 1

    def _to_server(self, data):
        for answer in self.server.receive(data, self.now):
            self._fly(answer, self._to_client)

    def _to_client(self, data):
        self.client.receive(data, self.now)
