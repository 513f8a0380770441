"""The calling side of the commands in processes.py, for callers written in Python with asyncio."""

import asyncio
import json
import sys
import time
from typing import Any, Protocol


class CallersProcess(Protocol):
    """What a calling process does when told."""

    async def add(self, calls: int) -> tuple[int, int]:
        """Place `calls` more; return how many are up and how many failed, of all so far."""

    async def count(self) -> dict[str, Any]:
        """Return `calls`, `sent`, `received` and whatever else is known."""

    async def close(self) -> None:
        """End all calls."""


def tell(event: str, **fields: Any) -> None:
    """Write one message."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def obey(process: CallersProcess, **about: Any) -> None:
    """Say that we are ready, then do as standard input says until it ends."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    tell("ready", **about)
    try:
        while line := (await reader.readline()).decode().strip():
            if line == "quit":
                return
            await _obey_line(process, line)
    finally:
        transport.close()
        await process.close()


async def _obey_line(process: CallersProcess, line: str) -> None:
    word, _, number = line.partition(" ")
    if word == "add" and number.isdecimal():
        began = time.monotonic()
        up, failed = await process.add(int(number))
        tell("up", calls=up, failed=failed, seconds=time.monotonic() - began)
    elif line == "count":
        tell("count", **await process.count())
    else:
        raise ValueError(f"unknown command '{line}'; legal: add N, count, quit")
