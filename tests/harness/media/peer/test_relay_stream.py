"""The bridge between the media loop and a TURN server's stream: what it loses is counted, what breaks is told."""

import asyncio
import socket
import ssl
from types import SimpleNamespace

import pytest

from harness.media.peer.relay_stream import StreamCarrier

pytestmark = pytest.mark.loopback


def carried(script, tls=None):
    """Run `script(carrier, media socket, reasons told)` on a carrier whose server reads nothing."""

    async def main():
        ours, server = socket.socketpair()
        media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with server, media:
            ours.setblocking(False)
            media.bind(("127.0.0.1", 0))
            port = SimpleNamespace(address=media.getsockname(), close=lambda: None)
            carrier = StreamCarrier(SimpleNamespace(open_port=lambda *_: port), ours, tls)
            told = []
            carrier.begin(lambda _frame: None, told.append)
            try:
                await script(carrier, media, told)
            finally:
                carrier.close()

    asyncio.run(main())


def test_packets_that_the_kernel_drops_before_the_bridge_are_counted():
    async def script(carrier, media, _told):
        to = carrier._bridge.getsockname()
        carrier._bridge.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        for _ in range(50):
            media.sendto(bytes(1_000), to)
        carrier._media_leaves()
        # The kernel tells with a packet what it dropped before that one.
        media.sendto(bytes(1_000), to)
        carrier._media_leaves()
        delay = carrier.bridge_delay
        assert 0 < delay.packets < 50
        assert delay.packets + delay.dropped == 51

    carried(script)


def test_tls_that_cannot_seal_any_more_ends_the_connection():
    class Broken:
        def seal(self, _data):
            error = ssl.SSLError(1, "bad length")
            error.reason = "BAD_LENGTH"
            raise error

    async def script(carrier, media, told):
        media.sendto(bytes(100), carrier._bridge.getsockname())
        carrier._media_leaves()
        carrier.send(b"")
        assert told == ["broke TLS: BAD_LENGTH"]
        assert carrier.bridge_delay.packets == 0

    carried(script, Broken())
