"""What of the agent faults can take hold of beside requests: its stages, what runs them, what it needs."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
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
    clock: WallClock = CLOCK
    # None: the agent writes no file, keeps no database, accepts no TLS.
    disk: Gate | None = None
    database: Gate | None = None
    tls: TlsListener | None = None

    def loader(self, stage: str) -> Callable[[], Awaitable[object]] | None:
        """Return what loads a stage's model anew; None where it has none, or one that is on somebody else's server."""
        if stage in self.servers:
            return self.servers[stage].start
        model = self.stages.get(stage)
        found: Callable[[], Awaitable[object]] | None = getattr(model, "load", None)
        return None if getattr(model, "is_remote", False) else found
