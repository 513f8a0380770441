"""Whether an emulated stage's model is loaded; each piece of its work asks here first.

What else can be wrong with a stage are the agent's faults (target_stack/chaos): a request meets them on its way here.
"""

import asyncio
from dataclasses import dataclass, field

from harness.model.clock import NS_PER_MS, NS_PER_S


@dataclass
class Conditions:
    """One stage's; warm in the beginning."""

    # Pieces of work begun, and those of them that waited for the model.
    seen: int = 0
    touched: int = 0
    # A load that the next piece of work begins, and the end of one that has begun.
    _cold_ms: float = field(default=0.0, repr=False)
    _loaded_ns: int = field(default=0, repr=False)

    @property
    def is_cold(self) -> bool:
        """Whether the next piece of work will have to load the model."""
        return self._cold_ms > 0

    def go_cold(self, load_ms: float) -> None:
        """Forget the model: the next piece of work loads it, and all wait until it is there."""
        self._cold_ms = load_ms

    def begin(self, now_ns: int) -> int:
        """Count a piece of work; return how long it waits for the model to be loaded, in ns."""
        self.seen += 1
        if self._cold_ms:
            self._loaded_ns = now_ns + round(self._cold_ms * NS_PER_MS)
            self._cold_ms = 0.0
        waits_ns = max(0, self._loaded_ns - now_ns)
        self.touched += bool(waits_ns)
        return waits_ns

    async def wait(self, wait_ns: int) -> None:
        """Wait for the load that `begin` told of."""
        if wait_ns:
            await asyncio.sleep(wait_ns / NS_PER_S)
