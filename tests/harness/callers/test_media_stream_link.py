"""A media stream's connection: nothing that comes is lost between two listeners, and its end is always told."""

import asyncio
import socket
import time

import pytest

from harness.callers.media_stream_link import StreamLink
from harness.media.stamped_stream import WallClock

pytestmark = pytest.mark.loopback


class LastWords:
    """TLS whose records come with the alert that ends it."""

    def open(self, data):
        return data, True

    def pending(self):
        return b""


def linked(script, tls=None):
    """Run `script(link, peer)` on a connection."""

    async def main():
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        link = StreamLink(ours, tls, WallClock(time.time_ns))
        with peer:
            await script(link, peer)
            link.close()

    asyncio.run(main())


def test_what_comes_while_nobody_listens_waits():
    async def script(link, peer):
        first, second = [], []

        def answered(read):
            first.append(read.data)
            link.pause()

        link.listen(answered, print)
        peer.send(b"opened")
        await asyncio.sleep(0.01)
        peer.send(b"greeting")
        peer.shutdown(socket.SHUT_WR)
        link.read_waiting()
        await asyncio.sleep(0.01)
        assert first == [b"opened"]
        link.listen(lambda read: second.append(read.data), print)
        await asyncio.sleep(0.01)
        assert (first, second) == ([b"opened"], [b"greeting", b""])

    linked(script)


def test_an_end_that_comes_with_the_last_words_is_told_behind_them():
    async def script(link, peer):
        reads = []
        link.listen(lambda read: reads.append(read.data), print)
        peer.send(b"bye")
        await asyncio.sleep(0.01)
        assert reads == [b"bye", b""]

    linked(script, LastWords())
