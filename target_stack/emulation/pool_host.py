"""One set of emulated servers for several processes, as media servers share a pool of GPUs.

async with PoolHost(config, path) as pool:  ...  pool.metrics()
"""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

from target_stack.emulation import pool_wire
from target_stack.emulation.emulated_metrics import render_servers
from target_stack.emulation.servers import LocalServers
from target_stack.emulation.work import Job
from target_stack.emulation_config import EmulationConfig
from target_stack.telemetry.batch_stats import BatchStats, render_batches
from target_stack.telemetry.stats import Stats


class PoolHost:
    """Serves at a Unix socket. A process that goes takes its requests with it."""

    def __init__(self, config: EmulationConfig, path: Path) -> None:
        self.stats = Stats()
        self.batches: dict[str, BatchStats] = {}
        self.servers = LocalServers(config.times, config.servers, self.stats, self.batches)
        self._cold_start = config.cold_start
        self._path = path
        self._server: asyncio.Server | None = None
        self._askers: set[asyncio.Task[None]] = set()

    async def start(self) -> Path:
        """Listen; return the socket's path. Raises OSError."""
        if self._cold_start == "start":
            await asyncio.sleep(max(map(self.servers.cold_starts.draw_ms, self.servers.conditions)) / 1000)
        elif self._cold_start == "first":
            for stage in self.servers.conditions:
                self.servers.go_cold(stage)
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self._path

    async def aclose(self) -> None:
        """Refuse what waits and runs, drop the askers, remove the socket."""
        if self._server is not None:
            self._server.close()
        await self.servers.aclose()
        for asker in self._askers:
            asker.cancel()
        await asyncio.gather(*self._askers, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def metrics(self) -> str:
        """Return the Prometheus text of the shared queues."""
        return render_batches(self.batches) + render_servers(self.servers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._askers.add(task)
        try:
            await _Asker(self.servers, writer).run(reader)
        finally:
            self._askers.discard(task)
            writer.close()


class _Asker:
    """One process that asks."""

    def __init__(self, servers: LocalServers, writer: asyncio.StreamWriter) -> None:
        self._servers = servers
        self._writer = writer
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve until the asker is gone."""
        try:
            while text := await reader.readline():
                self._take(json.loads(text))
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, message: dict[str, Any]) -> None:
        number, job = message["n"], pool_wire.job_of(message)
        if job is not None:
            task = self._tasks[number] = asyncio.create_task(self._work(number, job))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))
        elif (running := self._tasks.get(number)) is not None:
            running.cancel()

    async def _work(self, number: int, job: Job) -> None:
        try:
            if job.stage == "llm":
                async with aclosing(self._servers.write(job)) as words:
                    async for word in words:
                        self._writer.write(pool_wire.line({"n": number, "word": word}))
                self._writer.write(pool_wire.line({"n": number, "served": None}))
                return
            serve = self._servers.recognise if job.stage == "stt" else self._servers.speak
            self._writer.write(pool_wire.served(number, await serve(job)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the asker's to raise
            self._writer.write(pool_wire.failed(number, error))
