"""A front's line to a media server: frames whole and in order, descriptors with their own frame, ends that are told."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from target_stack.servers.link import MOST_WAITING_BYTES, Link, pair

pytestmark = pytest.mark.loopback


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class End:
    def __init__(self, sock):
        self.frames, self.ends = [], 0
        self.link = Link(sock, self.frames.append, self._ended)

    def _ended(self):
        self.ends += 1

    async def until(self, count):
        async with asyncio.timeout(20):
            while len(self.frames) < count:
                await asyncio.sleep(0.001)
        return self.frames


def with_ends(scenario):
    async def run():
        one, other = (End(sock) for sock in pair())
        try:
            return await scenario(one, other)
        finally:
            one.link.close()
            other.link.close()

    return asyncio.run(run())


def test_frames_of_every_size_arrive_in_order_both_ways():
    async def scenario(one, other):
        sizes = (0, 1, 100_000, 7, 1_000_000, 0)
        for number, size in enumerate(sizes):
            assert one.link.send("x", bytes([number]) * size, number=number)
        assert other.link.send("back", b"!", flow=("udp", ("::1", 1)))
        frames = await other.until(len(sizes))
        assert [(f.kind, f.fields, f.payload) for f in frames] == [
            ("x", {"number": n}, bytes([n]) * size) for n, size in enumerate(sizes)
        ]
        (back,) = await one.until(1)
        # Tuples are lists in JSON.
        assert (back.fields, back.payload) == ({"flow": ["udp", ["::1", 1]]}, b"!")

    with_ends(scenario)


def test_each_descriptor_comes_with_its_own_frame_and_works():
    async def scenario(one, other):
        ends = [socket.socketpair() for _ in range(40)]
        for number, (mine, theirs) in enumerate(ends):
            # Frames without one stand between, and some do not fit into the socket's buffer.
            one.link.send("plain", b"." * (number * 10_000))
            assert one.link.send("with", descriptor=theirs.fileno(), number=number)
            theirs.close()
            mine.settimeout(10)
        frames = [f for f in await other.until(80) if f.kind == "with"]
        assert all(f.descriptor is None for f in other.frames if f.kind == "plain")
        for frame, (mine, _) in zip(frames, ends, strict=True):
            with socket.socket(fileno=frame.descriptor) as taken:
                taken.sendall(b"%d" % frame.fields["number"])
            assert mine.recv(10) == b"%d" % frame.fields["number"]
            mine.close()

    with_ends(scenario)


def test_an_end_that_goes_is_told_once_and_takes_nothing_more():
    async def scenario(one, other):
        one.link.send("last")
        one.link.close()
        async with asyncio.timeout(20):
            while not other.ends:
                await asyncio.sleep(0.001)
        assert [f.kind for f in other.frames] == ["last"]
        assert (one.ends, other.ends) == (0, 1)
        assert not one.link.send("x")
        assert not other.link.send("x")

    with_ends(scenario)


def test_a_peer_that_does_not_read_gets_no_more_than_the_bound_and_descriptors_are_not_leaked():
    async def scenario(one, other):
        asyncio.get_running_loop().remove_reader(other.link._sock)
        before = descriptors()
        read, write = os.pipe()
        sent = 0
        while one.link.send("x", b"." * 1_000_000, descriptor=read):
            sent += 1
        assert MOST_WAITING_BYTES // 1_000_000 <= sent <= MOST_WAITING_BYTES // 1_000_000 + 2
        os.close(read)
        os.close(write)
        one.link.close()
        other.link.close()
        assert descriptors() <= before - 2

    with_ends(scenario)


def test_a_frame_that_cannot_be_handled_does_not_stop_the_next():
    async def scenario(one, other):
        taken = []

        def take(frame):
            taken.append(frame.kind)
            if frame.kind == "bad":
                raise ValueError("no")

        other.link._on_frame = take
        one.link.send("bad")
        one.link.send("good")
        async with asyncio.timeout(20):
            while taken != ["bad", "good"]:
                await asyncio.sleep(0.001)

    with_ends(scenario)
