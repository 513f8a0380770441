"""An emulated server as a process that can die and be started again, with the time that loading its model takes."""

import asyncio
from collections.abc import Callable

from target_stack.emulation.work import EmulatedFailureError

# As a proxy says it of a server that is not there.
_GONE_STATUS = 503


class Life:
    """One stage's. What was begun before a death is lost with it, however late it would have been done."""

    def __init__(self, stage: str, cold_ms: Callable[[], float]) -> None:
        """`cold_ms` draws how long a start takes, each time anew."""
        self._stage = stage
        self._cold_ms = cold_ms
        self._is_up = True
        self._deaths = 0

    async def kill(self) -> None:
        """Die: nothing is answered until `start` is over."""
        self._is_up = False
        self._deaths += 1

    async def start(self) -> str:
        """Load the model; return what was started, once it is up."""
        await asyncio.sleep(self._cold_ms() / 1000)
        self._is_up = True
        return f"emulated {self._stage}"

    def begin(self) -> int:
        """Begin a piece of work; return what `check` wants to see at its end. Raises EmulatedFailureError."""
        self.check(self._deaths)
        return self._deaths

    def check(self, begun: int) -> None:
        """Raise EmulatedFailureError where the server that this was begun at is gone."""
        if not self._is_up or begun != self._deaths:
            raise EmulatedFailureError(f"{self._stage}: its server is gone", _GONE_STATUS)
