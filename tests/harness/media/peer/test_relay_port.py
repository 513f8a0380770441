"""A relayed port whose server is slow to bind the channel: who waits for it is told, whatever comes of it."""

import asyncio
import types

import pytest

from harness.media.peer.relay_carrier import RelayError
from harness.media.peer.relay_port import RelayPort
from harness.protocols.turn_events import Bound, Lost

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


def path_after(event, bound_channel):
    async def main():
        carrier = ScriptedCarrier()
        over = []
        port = RelayPort("turn:r", ScriptedClient(event, bound_channel), carrier, types.SimpleNamespace(), over.append)
        if isinstance(event, Lost):
            port._granted.set_result(None)
        waiting = asyncio.ensure_future(port.path(PEER))
        await asyncio.sleep(0)
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
