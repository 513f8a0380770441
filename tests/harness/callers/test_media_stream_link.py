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


class KeyUpdate:
    """TLS whose peer asks for a new key: records are sealed under the old one until that is answered."""

    def __init__(self):
        self._answer = b""

    def seal(self, data):
        return data

    def open(self, data):
        self._answer = b"<key update>" * 1_000
        return data, False

    def pending(self):
        answer, self._answer = self._answer, b""
        return answer


def test_what_tls_says_itself_waits_behind_what_is_unsent_and_is_sent_whole():
    async def script(link, peer):
        said = [b"%07d\n" % number for number in range(200_000)]
        waiting = iter(said)
        sent = 0
        while link.send(next(waiting)):
            sent += 1
        expected = b"".join(said[: sent + 1])
        link.listen(lambda _read: None, print)
        peer.send(b"new key, please")
        link.read_waiting()
        link.send(b"under the new key")
        expected += b"<key update>" * 1_000 + b"under the new key"
        peer.setblocking(False)
        got = b""
        async with asyncio.timeout(20):
            while len(got) < len(expected):
                got += await asyncio.get_running_loop().sock_recv(peer, 65_536)
        assert got == expected
        assert link.unsent_bytes == 0

    linked(script, KeyUpdate())


def test_a_connection_that_breaks_under_what_tls_says_is_told_once_and_for_all(monkeypatch):
    def fails(link):
        link._break(BrokenPipeError())

    async def script(link, peer):
        reads, broken = [], []
        link.listen(reads.append, broken.append)
        monkeypatch.setattr(link, "_pass_on", lambda _data: fails(link))
        peer.send(b"bye")
        link.read_waiting()
        assert (reads, [type(error) for error in broken]) == ([], [BrokenPipeError])

    tls = KeyUpdate()
    tls.open = lambda data: (setattr(tls, "_answer", b"?"), (data, True))[1]
    linked(script, tls)
