"""`Servers` of another process, at a Unix socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from target_stack.emulation import pool_wire
from target_stack.emulation.work import Job, Served
from target_stack.stages.llm import LlmError
from target_stack.stages.worker import QueueFullError

_GONE = "the pool of emulated servers is gone"


class PoolClient:
    """`connect` before the first request, `aclose` at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._numbers = 0
        self._answers: dict[int, asyncio.Queue[dict[str, Any]]] = {}

    @property
    def is_connected(self) -> bool:
        """Whether the pool is there."""
        return self._reading is not None and not self._reading.done()

    async def connect(self) -> None:
        """Connect. Raises OSError naming the socket."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise OSError(f"--stage-pool {self._path}: {error}") from error
        self._reading = asyncio.create_task(self._read(reader))

    async def recognise(self, job: Job) -> Served:
        """Return when the utterance is recognised."""
        return await self._served(job)

    async def speak(self, job: Job) -> Served:
        """Return when the sentence is spoken."""
        return await self._served(job)

    async def write(self, job: Job) -> AsyncGenerator[str]:
        """Yield the reply's words. Raises LlmError."""
        if not self.is_connected:
            raise LlmError(_GONE)
        with self._asked(job) as answers:
            while "word" in (message := await answers.get()):
                yield message["word"]
            if "error" in message:
                raise pool_wire.error_of(message["error"])

    async def _served(self, job: Job) -> Served:
        if not self.is_connected:
            raise QueueFullError(_GONE)
        with self._asked(job) as answers:
            message = await answers.get()
        if "error" in message:
            raise pool_wire.error_of(message["error"])
        return Served(**message["served"])

    @contextlib.contextmanager
    def _asked(self, job: Job) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Ask; whoever leaves before the answer is complete takes the request back."""
        assert self._writer is not None
        number = self._numbers = self._numbers + 1
        answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers[number] = answers
        self._writer.write(pool_wire.ask(number, job))
        try:
            yield answers
        finally:
            if self._answers.pop(number, None) is not None and self.is_connected:
                self._writer.write(pool_wire.line({"n": number}))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while text := await reader.readline():
                message = json.loads(text)
                answers = self._answers.get(message["n"])
                if answers is None:
                    continue
                if "word" not in message:
                    # Complete: there is nothing to take back any more.
                    del self._answers[message["n"]]
                answers.put_nowait(message)
        finally:
            error = {"error": {"kind": "llm", "text": _GONE, "status": 503, "retry_after_s": None}}
            for answers in self._answers.values():
                answers.put_nowait(error)
            self._answers.clear()

    async def aclose(self) -> None:
        """Disconnect."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
