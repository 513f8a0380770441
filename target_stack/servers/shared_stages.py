"""Emulated stages of all media servers in one place: the front's process has the finite servers, the others ask.

As a pool of GPUs is shared in production; a media server that dies takes only its own requests with it. Real models
are each media server's own, unless their URLs are given.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from target_stack.config import StackConfig
from target_stack.emulation.pool_host import PoolHost


class SharedStages:
    """Between `start` and `aclose`; does nothing for a configuration that has nothing to share."""

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._pool: PoolHost | None = None

    async def start(self) -> StackConfig:
        """Begin to serve; return the configuration of who asks. OSError."""
        emulation = self._config.emulation
        if emulation is None or emulation.pool is not None:
            return self._config
        # A folder of our own, which no other user can reach into.
        self._folder = tempfile.TemporaryDirectory(prefix="callquake-")
        path = Path(self._folder.name) / "stages"
        self._pool = PoolHost(emulation, path)
        await self._pool.start()
        return replace(self._config, emulation=replace(emulation, pool=path))

    def metrics(self) -> str:
        """Return the shared queues' Prometheus text."""
        return "" if self._pool is None else self._pool.metrics()

    async def aclose(self) -> None:
        """Stop; those who asked must be gone."""
        if self._pool is not None:
            await self._pool.aclose()
        if self._folder is not None:
            self._folder.cleanup()
