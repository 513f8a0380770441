"""What of the agent faults can take hold of beside requests: its stages, what runs them, what it needs."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from target_stack.gate import Gate
from target_stack.wall_clock import CLOCK, WallClock


class Restartable(Protocol):
    """A server process of a stage's."""

    async def kill(self) -> None:
        """End it as a crash would."""

    async def start(self) -> str:
        """Start it, at the address it had; return that once its model is loaded."""


def is_running(server: Restartable) -> bool:
    """Whether its process runs, as far as it tells."""
    return getattr(server, "pid", 0) is not None


@dataclass(frozen=True, slots=True)
class TlsListener:
    """A context that connections are accepted with, and the files it was made from."""

    context: ssl.SSLContext
    certificate: Path
    key: Path
    # Told of each handshake by faults that have an expired certificate shown.
    expiries: list[Callable[[], None]] = field(default_factory=list)


@dataclass(slots=True)
class AgentParts:
    """Filled as the agent is built; by stage."""

    # The stages as they are, without faults.
    stages: dict[str, Any] = field(default_factory=dict)
    # The processes that run them, where they are ours.
    servers: dict[str, Restartable] = field(default_factory=dict)
    reviving: dict[str, asyncio.Lock] = field(default_factory=dict)
    clock: WallClock = CLOCK
    # None: the agent writes no file, keeps no database, accepts no TLS.
    disk: Gate | None = None
    database: Gate | None = None
    tls: TlsListener | None = None

    async def revive(self, stage: str) -> None:
        """Start a stage's process, unless another fault's end has done so: two of them would want one address."""
        server = self.servers[stage]
        async with self.reviving.setdefault(stage, asyncio.Lock()):
            if not (hasattr(server, "pid") and is_running(server)):
                await server.start()

    def loader(self, stage: str) -> Callable[[], Awaitable[object]] | None:
        """Return what loads a stage's model anew; None where it has none, or one that is on somebody else's server."""
        if stage in self.servers:
            return partial(self.revive, stage)
        model = self.stages.get(stage)
        found: Callable[[], Awaitable[object]] | None = getattr(model, "load", None)
        return None if getattr(model, "is_remote", False) else found
