"""What of the agent faults can take hold of, beside the requests that pass: its stages, and what runs them."""

from dataclasses import dataclass, field
from typing import Any, Protocol


class Restartable(Protocol):
    """A server process of a stage's."""

    async def kill(self) -> None:
        """End it as a crash would."""

    async def start(self) -> str:
        """Start it, at the address it had; return that once its model is loaded."""


@dataclass(slots=True)
class AgentParts:
    """Filled as the agent is built; by stage."""

    # The stages as they are, without faults.
    stages: dict[str, Any] = field(default_factory=dict)
    # The processes that run them, where they are ours.
    servers: dict[str, Restartable] = field(default_factory=dict)
