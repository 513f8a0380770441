"""Peers behind a NAT, and the candidate types that a call's record then has."""

import asyncio
import contextlib
import socket

import pytest
from aioice import stun as foreign
from peer_pair import URL, Ends, keys_agree

from harness.media.peer.connected import IceError
from harness.media.peer.offering import OfferingPeer
from harness.model.plan import IceServer, IceSpec

pytestmark = pytest.mark.loopback


class Nat:
    """Sends what a port sends from a socket of its own, and hands what comes there to the port."""

    def __init__(self, port):
        self.port = port
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        port.send = self._send
        asyncio.get_running_loop().add_reader(self.sock, self._read)

    def _send(self, data, to):
        with contextlib.suppress(OSError):
            self.sock.sendto(data, to)

    def _read(self):
        with contextlib.suppress(OSError):
            data, source = self.sock.recvfrom(2048)
            self.port.on_datagram(data, source, 0)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()


class StunServer:
    """Answers binding requests, all but the first `deaf` of them, in aioice's words."""

    def __init__(self, deaf=0):
        self.deaf = deaf
        self.asked = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.url = f"stun:127.0.0.1:{self.sock.getsockname()[1]}"
        asyncio.get_running_loop().add_reader(self.sock, self._read)

    def _read(self):
        data, source = self.sock.recvfrom(2048)
        request = foreign.parse_message(data)
        self.asked += 1
        if self.asked > self.deaf:
            told = {"XOR-MAPPED-ADDRESS": source, "SOFTWARE": "test"}
            answer = foreign.Message(request.message_method, foreign.Class.RESPONSE, request.transaction_id, told)
            self.sock.sendto(bytes(answer), source)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()


@contextlib.contextmanager
def bench(*, deaf=0):
    """Yield two ends and a STUN server."""
    both, server = Ends(), StunServer(deaf)
    both.nats = []
    try:
        yield both, server
    finally:
        both.close()
        for nat in both.nats:
            nat.close()
        server.close()


async def called(both, ice, *, has_nat):
    """Connect one call; returns the offering peer and its media."""
    ours = OfferingPeer(both.caller, URL, ["127.0.0.1"], ice=ice)
    both.peers.append(ours)
    if has_nat:
        both.nats.append(Nat(both.caller_ports.ports[-1]))
    await ours.gather(10)
    theirs = both.answer(ours.offer_sdp)
    ours.accept(theirs.answer_sdp)
    media = await asyncio.gather(ours.connect(30), theirs.connect(30))
    assert keys_agree(*media)
    return ours, media[0]


@pytest.mark.parametrize("deaf", [0, 1])
def test_behind_a_nat_a_server_s_view_of_us_is_announced_and_named(deaf):
    async def scenario():
        with bench(deaf=deaf) as (both, server):
            ours, media = await called(both, IceSpec(servers=(IceServer((server.url,)),)), has_nat=True)
            host, port = both.nats[0].sock.getsockname()
            base = both.caller_ports.ports[0].address
            assert f" {host} {port} typ srflx raddr {base[0]} rport {base[1]}" in ours.offer_sdp
            assert media.candidate_types[0] == "srflx"
            assert server.asked == deaf + 1

    asyncio.run(scenario())


def test_behind_a_nat_without_a_server_we_are_peer_reflexive():
    async def scenario():
        with bench() as (both, _):
            _, media = await called(both, None, has_nat=True)
            assert media.candidate_types[0] == "prflx"

    asyncio.run(scenario())


def test_without_a_nat_a_server_adds_nothing():
    async def scenario():
        with bench() as (both, server):
            ours, media = await called(both, IceSpec(servers=(IceServer((server.url,)),)), has_nat=False)
            assert "srflx" not in ours.offer_sdp
            assert media.candidate_types == ("host", "host")

    asyncio.run(scenario())


def test_a_server_that_is_silent_costs_time_and_no_call(monkeypatch):
    monkeypatch.setattr("harness.media.peer.gathering.OTHERS_LIMIT_S", 0.05)

    async def scenario():
        with bench(deaf=1000) as (both, server):
            ours, media = await called(both, IceSpec(servers=(IceServer((server.url,)),)), has_nat=False)
            assert media.candidate_types == ("host", "host")
            assert ours.link._failures == [f"STUN {server.url} did not answer in time"]

    asyncio.run(scenario())


def test_relay_only_without_a_relay_says_so_and_offers_no_other_address():
    async def scenario():
        with bench() as (both, server):
            ours = OfferingPeer(both.caller, URL, ["127.0.0.1"], ice=IceSpec("relay", (IceServer((server.url,)),)))
            both.peers.append(ours)
            assert not both.caller_ports.ports
            with pytest.raises(IceError, match=r"no relay candidate: no TURN server is given \(ice.servers\)"):
                await ours.gather(10)
            assert server.asked == 0

    asyncio.run(scenario())
