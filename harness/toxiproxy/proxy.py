"""One proxy: a listener, what it connects to, its toxics and its connections."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterable
from typing import Any

from harness.toxiproxy.link import Link, Stack
from harness.toxiproxy.toxic import STREAMS, Toxic, changed, toxic_from

_CONNECT_S = 10.0
# RST instead of FIN (socket(7), SO_LINGER).
_NO_LINGER = struct.pack("ii", 1, 0)


def address(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:80", "[::1]:80" or ":80". Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError(f"{text!r}; legal: HOST:PORT")
    return host.strip("[]"), int(port)


class _Connection:
    """A client's connection and the one that it goes on by."""

    def __init__(self, writers: Iterable[asyncio.StreamWriter]) -> None:
        self._writers = list(writers)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def reset(self) -> None:
        for writer in self._writers:
            held = writer.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()


class Proxy:
    """`start` to listen, `stop` to close everything; toxics stay over both."""

    def __init__(self, name: str, listen: str, upstream: str, *, seed: int = 0) -> None:
        """Take the addresses. Raises ValueError for one that is none."""
        address(upstream)
        address(listen)
        self.name, self.listen, self.upstream = name, listen, upstream
        self.stacks = {stream: Stack() for stream in STREAMS}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._draws = random.Random(f"{seed}/{name}")
        # Connections taken since the start.
        self.accepted = 0

    @property
    def is_enabled(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def start(self) -> None:
        """Listen. Raises OSError."""
        if self._server is not None:
            return
        host, port = address(self.listen)
        self._server = await asyncio.start_server(self._accepted, host or None, port)
        if port == 0:
            port = self._server.sockets[0].getsockname()[1]
            self.listen = f"[{host}]:{port}" if ":" in host else f"{host or '127.0.0.1'}:{port}"

    async def stop(self) -> None:
        """Refuse connections, close those there are."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def move(self, listen: str, upstream: str) -> None:
        """Have other addresses, with no connection left of the old ones. Raises OSError, ValueError."""
        address(listen)
        address(upstream)
        was_enabled = self.is_enabled
        await self.stop()
        self.listen, self.upstream = listen, upstream
        if was_enabled:
            await self.start()

    # --- toxics ----------------------------------------------------------------------------------------------------

    @property
    def toxics(self) -> list[Toxic]:
        """All of both streams."""
        return [toxic for stack in self.stacks.values() for toxic in stack.toxics]

    def add(self, said: dict[str, Any]) -> Toxic | None:
        """Return a new toxic, in force; None where there is one of its name. Raises ToxicError."""
        toxic = toxic_from(said, asyncio.get_running_loop().time())
        if self.toxic(toxic.name) is not None:
            return None
        stack = self.stacks[toxic.stream]
        stack.set([*stack.toxics, toxic])
        return toxic

    def toxic(self, name: str) -> Toxic | None:
        """Return the toxic of that name."""
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def change(self, toxic: Toxic, said: dict[str, Any]) -> Toxic:
        """Return the toxic as it is from now on. Raises ToxicError."""
        new = changed(toxic, said, asyncio.get_running_loop().time())
        stack = self.stacks[toxic.stream]
        stack.set([new if one is toxic else one for one in stack.toxics])
        return new

    def remove(self, toxic: Toxic) -> None:
        """Take a toxic out."""
        stack = self.stacks[toxic.stream]
        stack.set([one for one in stack.toxics if one is not toxic])

    def as_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.is_enabled,
            "toxics": [toxic.as_json() for toxic in self.toxics],
        }

    # --- connections -----------------------------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            # It came in the instant in which the proxy was stopped.
            writer.close()
            return
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        self.accepted += 1

        def over(_task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            # Where it was cancelled before its first step.
            writer.close()

        task.add_done_callback(over)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            async with asyncio.timeout(_CONNECT_S):
                their_reader, their_writer = await asyncio.open_connection(*address(self.upstream))
            writers.append(their_writer)
            connection = _Connection(writers)
            up = Link(reader, their_writer, self.stacks["upstream"], connection, self._draws)
            down = Link(their_reader, writer, self.stacks["downstream"], connection, self._draws)
            async with asyncio.TaskGroup() as group:
                group.create_task(up.run())
                group.create_task(down.run())
        except* OSError:
            # A side is gone, or was not there (TimeoutError among them): the other one hears it by the close.
            pass
        finally:
            for one in writers:
                one.close()
