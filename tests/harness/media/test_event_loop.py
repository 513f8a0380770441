"""A connection that is closed is gone with its last reference."""

import asyncio
import gc
import weakref

import pytest

from harness.media.event_loop import ClosingLoop

pytestmark = pytest.mark.loopback


async def one_connection(who_closes):
    """Open a connection, send something each way, close it; return what is still there of both ends."""
    ends = []

    async def serve(reader, writer):
        ends.append(weakref.ref(writer.transport))
        writer.write(await reader.readline())
        if who_closes == "agent":
            writer.close()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    ends.append(weakref.ref(writer.transport))
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    if who_closes == "agent":
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    del reader, writer
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.1)
    return [end() for end in ends]


@pytest.mark.parametrize("who_closes", ["agent", "us"])
def test_a_closed_connection_is_not_left_to_the_collector(who_closes):
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=ClosingLoop) as runner:
            assert runner.run(one_connection(who_closes)) == [None, None]
    finally:
        gc.enable()
