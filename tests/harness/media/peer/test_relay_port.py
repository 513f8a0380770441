"""A relayed port whose server is slow to bind the channel: who waits for it is told, whatever comes of it."""

import asyncio
import types

import pytest

from harness.media.peer.ice import Pair
from harness.media.peer.link import PeerLink
from harness.media.peer.relay_carrier import RelayError
from harness.media.peer.relay_port import RelayPort
from harness.protocols.turn_events import Bound, Lost, PeerRefused

pytestmark = pytest.mark.unit

PEER = ("192.0.2.1", 4000)


class ScriptedClient:
    """Tells what it was given at the next frame that arrives."""

    next_timer_ns = None

    def __init__(self, event, bound_channel):
        self._told, self._bound_channel, self._channel = [event], bound_channel, None

    def channel(self, _peer):
        return self._channel

    def receive(self, _frame, _now_ns):
        self._channel = self._bound_channel

    def outgoing(self):
        return []

    def events(self):
        told, self._told = self._told, []
        return told


class ScriptedCarrier:
    """Keeps who wants frames; its media path is the channel's number."""

    def begin(self, on_frame, _on_closed):
        self.on_frame = on_frame

    def path(self, channel):
        return channel

    def close(self):
        pass


def path_after(event, bound_channel, *, is_asked_late=False):
    async def main():
        carrier = ScriptedCarrier()
        over = []
        port = RelayPort("turn:r", ScriptedClient(event, bound_channel), carrier, types.SimpleNamespace(), over.append)
        if isinstance(event, Lost):
            port._granted.set_result(None)
        if is_asked_late:
            carrier.on_frame(b"")
        waiting = asyncio.ensure_future(port.path(PEER))
        await asyncio.sleep(0)
        if not is_asked_late:
            carrier.on_frame(b"")
        try:
            return await asyncio.wait_for(waiting, 1)
        finally:
            assert not port._bound

    return asyncio.run(main())


def test_a_channel_that_is_bound_late_is_waited_for():
    assert path_after(Bound(PEER, 0x4000), 0x4000) == 0x4000


def test_a_relay_that_goes_before_the_channel_is_bound_is_told():
    with pytest.raises(RelayError, match="gone away"):
        path_after(Lost("gone away"), None)


@pytest.mark.parametrize("event", [Lost("gone away"), PeerRefused(PEER, "forbids 192.0.2.1")])
def test_who_asks_after_the_server_has_said_no_is_told_at_once(event):
    with pytest.raises(RelayError, match=r"TURN turn:r (gone away|forbids)"):
        path_after(event, None, is_asked_late=True)


def test_the_refusal_of_another_peer_is_no_matter():
    refused = PeerRefused(("192.0.2.2", 4000), "forbids 192.0.2.2")
    assert path_after(refused, 0x4000, is_asked_late=True) == 0x4000


def test_a_caller_that_has_vanished_was_relayed_all_the_same():
    class Carrier(ScriptedCarrier):
        def send(self, frame):
            raise AssertionError(f"{frame} left")

    async def main():
        link = PeerLink(types.SimpleNamespace(timers=None), (), is_controlling=True, on_closed=None)
        relay = RelayPort("turn:r", ScriptedClient(None, 1), Carrier(), types.SimpleNamespace(), lambda _: None)
        link.ice.selected = Pair(relay, PEER, "host", 1, relay.kind)
        link.vanish()
        link.ice.selected.port.send(b"any more", PEER)
        return link.relay is relay

    assert asyncio.run(main())
