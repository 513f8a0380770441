"""One direction of one connection: what is read is written, through the toxics that are in force just then.

    read ─► arrived, bounded ─► latency ─► timeout, reset_peer: swallowed ─► limit_data ─► slicer ─► bandwidth ─► write

A toxic that is added, changed or removed takes hold of connections that are there, and of waits that have begun.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from harness.toxiproxy.toxic import Toxic

_READ_BYTES = 32_768
# Read ahead of what latency and bandwidth hold back; beyond it the sender feels it.
_MOST_WAITING = 64
# A narrow pipe is written to in steps of this length, ms.
_STEP_MS = 100.0


class Stack:
    """The toxics of one stream of a proxy, in the order in which they were added, and what has met each."""

    def __init__(self) -> None:
        self.toxics: list[Toxic] = []
        # Bytes and connections that met a toxic, by its name; kept when it is removed.
        self.met: Counter[str] = Counter()
        self.touched: Counter[str] = Counter()
        self.received = self.sent = 0
        self.changed = asyncio.Event()

    def set(self, toxics: list[Toxic]) -> None:
        """Have these from now on, and tell every link."""
        self.toxics = toxics
        told, self.changed = self.changed, asyncio.Event()
        told.set()


class Connection(Protocol):
    """Both directions and their sockets."""

    def close(self) -> None:
        """Close both ends."""

    def reset(self) -> None:
        """Close both ends with RST."""


class Link:
    """Runs until its sender has closed and all is written, or the connection is closed."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stack: Stack,
        connection: Connection,
        draws: random.Random,
    ) -> None:
        self._reader, self._writer, self._stack, self._connection, self._draws = (
            reader,
            writer,
            stack,
            connection,
            draws,
        )
        self._now = asyncio.get_running_loop().time
        self._begun_s = self._now()
        self._arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_WAITING)
        # Whether a toxic is for this connection, drawn once; bytes that have passed each limit.
        self._chosen: dict[tuple[str, float], bool] = {}
        self._passed: Counter[tuple[str, float]] = Counter()
        self._touched: set[tuple[str, float]] = set()
        self._has_swallowed = False

    async def run(self) -> None:
        """Carry everything over. Raises OSError where a side is gone."""
        reading = asyncio.create_task(self._read())
        watching = asyncio.create_task(self._watch())
        try:
            while (arrived := await self._arrived.get())[1]:
                await self._pass(*arrived)
            for toxic in self._of("slow_close"):
                if toxic["delay"]:
                    self._touch(toxic)
            await self._wait_until(lambda: self._closes_s(arrived[0]))
            if self._writer.can_write_eof():
                self._writer.write_eof()
        finally:
            for task in (reading, watching):
                task.cancel()
            await asyncio.gather(reading, watching, return_exceptions=True)

    def _closes_s(self, ended_s: float) -> float:
        """Return when what its sender closed then is closed for its reader."""
        return ended_s + max((toxic["delay"] / 1000 for toxic in self._of("slow_close")), default=0.0)

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(_READ_BYTES):
                self._stack.received += len(data)
                await self._arrived.put((self._now(), data))
        except OSError:
            # Reset by who sends; the other side is told the same way.
            self._connection.reset()
        await self._arrived.put((self._now(), b""))

    def _of(self, *types: str) -> list[Toxic]:
        """Return the toxics of these types that are for this connection."""
        return [toxic for toxic in self._stack.toxics if toxic.type in types and self._is_chosen(toxic)]

    def _is_chosen(self, toxic: Toxic) -> bool:
        if toxic.instance not in self._chosen:
            self._chosen[toxic.instance] = self._draws.random() < toxic.toxicity
        return self._chosen[toxic.instance]

    async def _wait_until(self, due_s: Callable[[], float]) -> None:
        """Wait for a time that may change with the toxics."""
        while (left_s := due_s() - self._now()) > 0:
            changed = self._stack.changed
            try:
                async with asyncio.timeout(left_s):
                    await changed.wait()
            except TimeoutError:
                pass

    async def _pass(self, arrived_s: float, data: bytes) -> None:
        jitter = self._draws.uniform(-1, 1)

        def delay_ms(toxic: Toxic) -> float:
            return max(0.0, toxic["latency"] + jitter * toxic["jitter"])

        for toxic in self._of("latency"):
            if delay_ms(toxic):
                self._touch(toxic, len(data))
        await self._wait_until(lambda: arrived_s + sum(map(delay_ms, self._of("latency"))) / 1000)
        if holes := self._of("timeout", "reset_peer"):
            self._has_swallowed = True
            for toxic in holes:
                self._touch(toxic, len(data))
            return
        limits = self._of("limit_data")
        left = min((int(toxic["bytes"]) - self._passed[toxic.instance] for toxic in limits), default=None)
        for piece, pause_s in self._pieces(data if left is None else data[: max(0, left)]):
            await self._write(piece)
            await asyncio.sleep(pause_s)
        self._count_limits(data, left)

    def _count_limits(self, data: bytes, left: int | None) -> None:
        for toxic in self._of("limit_data"):
            self._passed[toxic.instance] += len(data)
            if self._passed[toxic.instance] >= int(toxic["bytes"]):
                self._touch(toxic, len(data))
        if left is not None and left <= len(data):
            self._connection.close()

    def _touch(self, toxic: Toxic, n_bytes: int = 0) -> None:
        """Count what a toxic does something to, and this connection once."""
        self._stack.met[toxic.name] += n_bytes
        if toxic.instance not in self._touched:
            self._touched.add(toxic.instance)
            self._stack.touched[toxic.name] += 1

    def _pieces(self, data: bytes) -> Iterator[tuple[bytes, float]]:
        """Yield what is written at once, and the pause behind it, in s."""
        slicers = self._of("slicer")
        if not slicers:
            yield data, 0.0
            return
        n_bytes = len(data)
        average, spread = int(slicers[0]["average_size"]), int(slicers[0]["size_variation"])
        while data:
            size = max(1, average + self._draws.randint(-spread, spread)) if average else len(data)
            if size < n_bytes == len(data):
                self._touch(slicers[0], n_bytes)
            piece, data = data[:size], data[size:]
            yield piece, slicers[0]["delay"] / 1e6 if data else 0.0

    async def _write(self, data: bytes) -> None:
        """Write at the narrowest pipe's pace."""
        while data:
            narrowest = min((t for t in self._of("bandwidth") if t["rate"]), key=lambda t: t["rate"], default=None)
            rate = narrowest["rate"] if narrowest is not None else 0.0
            size = max(1, int(rate * _STEP_MS)) if rate else len(data)
            piece, data = data[:size], data[size:]
            begun_s = self._now()
            self._writer.write(piece)
            await self._writer.drain()
            self._stack.sent += len(piece)
            if narrowest is not None and (due_s := begun_s + len(piece) / rate / 1000) > self._now():
                self._touch(narrowest, len(piece))
                await self._wait_until(lambda due_s=due_s: due_s if self._of("bandwidth") else 0.0)  # type: ignore[misc]

    async def _watch(self) -> None:
        """Close the connection where a toxic says so: after its time, or when what has swallowed bytes is removed."""
        while True:
            changed = self._stack.changed
            holes = self._of("timeout", "reset_peer")
            if self._has_swallowed and not holes:
                # What follows would not follow on what came before.
                self._connection.close()
                return
            ending = [toxic for toxic in holes if toxic.type == "reset_peer" or toxic["timeout"]]
            first = min(ending, key=self._end_s, default=None)
            left_s = None if first is None else self._end_s(first) - self._now()
            if first is not None and left_s is not None and left_s <= 0:
                self._touch(first)
                end = self._connection.reset if first.type == "reset_peer" else self._connection.close
                end()
                return
            try:
                async with asyncio.timeout(left_s):
                    await changed.wait()
            except TimeoutError:
                pass

    def _end_s(self, toxic: Toxic) -> float:
        return max(toxic.since_s, self._begun_s) + toxic["timeout"] / 1000
