"""A server's life on the command line: load while SIGINT and SIGTERM are heeded, then be up until one comes."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Task[Any]]:
    """Give a task that ends with the first signal; behind this block a second one ends the process at once."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    stopping = asyncio.create_task(stopped.wait())
    try:
        yield stopping
    finally:
        stopping.cancel()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def is_loaded(load: Coroutine[Any, Any, None], stopping: asyncio.Task[Any]) -> bool:
    """Return True once loaded, False when it was told to stop before; raises what loading raises."""
    loading = asyncio.create_task(load)
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        loading.result()
        return True
    loading.cancel()
    await asyncio.wait({loading})
    return False
