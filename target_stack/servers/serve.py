"""`up --media-servers N`: the front in this process until SIGINT (ends at once) or SIGTERM (drains before)."""

import asyncio
import signal
import sys
from dataclasses import astuple
from typing import Any

from target_stack.config import StackConfig
from target_stack.servers.front import Front


async def serve_front(settings: StackConfig) -> int:
    """Run until told to stop; return the exit status."""
    stopped: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopped, number)
    front = Front(settings)
    try:
        port, sip = await front.start()
        addresses = [f"http://{settings.host}:{port}", *(uri for uri in astuple(sip) if uri)]
        text = " ".join(addresses)
        print(f"up: {text} ({settings.servers.count} media servers are starting)", file=sys.stderr, flush=True)
        starting = asyncio.create_task(front.ready())
        either: set[asyncio.Future[Any]] = {starting, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print(f"up: ready on {text}", file=sys.stderr, flush=True)
        else:
            starting.cancel()
        if await stopped is signal.SIGTERM and starting.done():
            # A second signal of either kind ends it at once.
            await _drain(front, settings)
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await front.aclose()


async def _drain(front: Front, settings: StackConfig) -> None:
    again: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _stop, again, number)
    in_use, limit_s = front.registry.in_use, settings.servers.drain_s
    if in_use:
        print(f"up: draining {in_use} calls, for {limit_s:g} s at most", file=sys.stderr, flush=True)
    draining = asyncio.create_task(front.drain(limit_s))
    either: set[asyncio.Future[Any]] = {draining, again}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    draining.cancel()


def _stop(told: "asyncio.Future[signal.Signals]", number: signal.Signals) -> None:
    if not told.done():
        told.set_result(number)
