"""Datagrams that the kernel dropped for want of buffer are counted once, however many calls share the port."""

import asyncio
import socket

import pytest
from loop_lab import spec, until

from harness.media.loop import MediaLoop

pytestmark = pytest.mark.loopback

SENT = 200


def test_drops_of_a_shared_port_count_once():
    async def main():
        loop = MediaLoop(8)
        port = loop.open_port("127.0.0.1", lambda *_: None, buffer_bytes=4096)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            # Nobody reads yet: most of these find the buffer full.
            for _ in range(SENT):
                sender.sendto(b"x" * 200, port.address)
            loop.start()
            calls = [loop.add_call(port, spec(sender.getsockname(), ssrc, by_ssrc=True)) for ssrc in (1, 2)]
            await until(lambda: loop.take_stats().datagrams_received > 0)
            # The count travels with the next datagram that is taken in.
            while loop.socket_drops == 0:
                sender.sendto(b"x", port.address)
                await asyncio.sleep(0.01)
            drops = loop.socket_drops
            assert 0 < drops < SENT
            assert [call.stats().socket_drops for call in calls] == [drops, drops]
            for call in calls:
                await call.close()
            port.close()
            await until(lambda: port.sock.fileno() < 0)
            assert loop.socket_drops == drops
        loop.stop()

    asyncio.run(main())
