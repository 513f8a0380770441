"""Two peers of ours on loopback, over real sockets and the asyncio stand-in for the media loop."""

import asyncio
import contextlib

from asyncio_ports import AsyncioPorts

from harness.media.peer.answering import AnsweringPeer
from harness.media.peer.host import PeerHost
from harness.media.peer.offering import OfferingPeer

URL = "http://agent/offer"
LIMIT_S = 30.0


class Ends:
    """A caller's host and an agent's host; peers made here are closed with them."""

    def __init__(self, caller_profiles=None, agent_profiles=None):
        self.caller_ports, self.agent_ports = AsyncioPorts(), AsyncioPorts()
        self.caller = PeerHost(self.caller_ports, srtp_profiles=caller_profiles)
        self.agent = PeerHost(self.agent_ports, srtp_profiles=agent_profiles)
        self.peers = []

    def offer(self, *, address="127.0.0.1", **options):
        self.peers.append(OfferingPeer(self.caller, URL, [address], **options))
        return self.peers[-1]

    def answer(self, offer_sdp, *, address="127.0.0.1", **options):
        self.peers.append(AnsweringPeer(self.agent, offer_sdp, [address], **options))
        return self.peers[-1]

    async def pair(self, offer=None, answer=None):
        """Connect one call; returns both peers and both PeerMedia."""
        ours = self.offer(**(offer or {}))
        theirs = self.answer(ours.offer_sdp, **(answer or {}))
        ours.accept(theirs.answer_sdp)
        media = await asyncio.gather(ours.connect(LIMIT_S), theirs.connect(LIMIT_S))
        return ours, theirs, *media

    def close(self):
        for peer in self.peers:
            peer.close()
        self.caller.close()
        self.agent.close()


@contextlib.asynccontextmanager
async def ends(**options):
    both = Ends(**options)
    try:
        yield both
    finally:
        both.close()


PACKET = bytes.fromhex("806f0001000003c000001234") + b"payload"


def keys_agree(ours, theirs):
    """Tell whether what one end protects the other can read, both ways."""
    there = theirs.incoming.unprotect(ours.outgoing.protect(PACKET))
    back = ours.incoming.unprotect(theirs.outgoing.protect(PACKET))
    return there == PACKET == back


async def until(condition):
    """Wait for something that the event loop will bring."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)
