"""Fuzz target of TURN: what a server, or somebody in its place, says to a client that awaits its allocation."""

from fuzz_mutation import Mutator

from harness.model.errors import RemoteProtocolError
from harness.protocols import turn_messages as wire
from harness.protocols.turn import State, TurnClient
from harness.protocols.turn_messages import Attribute, Kind, Method

_IDS = b"t" * 12
_PEER = ("198.51.100.9", 6000)
_KEY = wire.long_term_key("u", "r", "p")


def _error(code, *more):
    said = wire.pack(Attribute.ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + b"No")
    return wire.build(Method.ALLOCATE, Kind.ERROR, _IDS, said + b"".join(more))


CHALLENGE = _error(401, wire.pack(Attribute.REALM, b"r"), wire.pack(Attribute.NONCE, b"n"))


def _granted(key):
    relayed = wire.pack_address(Attribute.XOR_RELAYED_ADDRESS, _PEER, _IDS)
    mapped = wire.pack_address(Attribute.XOR_MAPPED_ADDRESS, ("::1", 9), _IDS)
    return wire.build(
        Method.ALLOCATE, Kind.SUCCESS, _IDS, relayed + mapped + wire.pack_number(Attribute.LIFETIME, 600), key
    )


class Turn:
    """Answers to an Allocate, and frames of a stream; nobody without the key grants anything."""

    name = "turn"

    def __init__(self, seed):
        peer = wire.pack_address(Attribute.XOR_PEER_ADDRESS, _PEER, _IDS) + wire.pack(Attribute.DATA, b"hello")
        granted = _granted(_KEY)
        # What the key holder signed: the type and all between length and signature.
        self._signed = (granted[:2], granted[4 : wire.parse(granted).integrity_at])
        seeds = [
            granted,
            _granted(b""),
            CHALLENGE,
            _error(438, wire.pack(Attribute.NONCE, b"new")),
            _error(486),
            wire.build(Method.DATA, Kind.INDICATION, _IDS, peer),
            wire.channel_data(0x4000, b"\x80" + bytes(30)),
            wire.padded(wire.channel_data(0x4001, b"12345")) + granted,
        ]
        words = [
            b"\x21\x12\xa4\x42",
            b"\x00\x08\x00\x14",
            b"\x00\x16\x00\x08",
            b"\x40\x00",
            b"\x01\x03",
            b"\x01\x13",
            _IDS,
        ]
        self._mutator = Mutator(seeds, words, f"{self.name}{seed}")

    def make(self, number):
        return self._mutator.make(number)

    def feed(self, data):
        client = TurnClient("u", "p", new_transaction=lambda: _IDS)
        client.begin(0)
        client.receive(CHALLENGE, 0)
        client.outgoing()
        client.receive(data, 1)
        if client.state is State.ALLOCATED:
            signed = (data[:2], data[4 : wire.parse(data).integrity_at])
            assert signed == self._signed, "a forged answer passes for authentic"
        client.send(_PEER, b"data", 2)
        client.release(3)
        # However it was answered, it comes to an end.
        for _ in range(200):
            if client.next_timer_ns is None:
                break
            client.handle_timers(client.next_timer_ns)
        assert client.state is State.OVER, f"{client.state} for ever"
        frames = list(wire.StreamFramer().feed(data))
        if not frames and data and not client.events():
            raise RemoteProtocolError("nothing in it")

    def end(self):
        """Nothing is kept."""
