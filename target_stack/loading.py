"""Start-up of each stage, and what /readyz says about it meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

from target_stack.readiness import Readiness

LOADING = "loading"
READY = "ready"


class Loading:
    """State per stage. A stage may also be watched: it is ready only as long as its check gives no fault."""

    def __init__(self, descriptions: dict[str, str], simulated: tuple[str, ...] = ()) -> None:
        self._simulated = simulated
        self._descriptions = dict(descriptions)
        self._states = dict.fromkeys(descriptions, LOADING)
        self._checks: dict[str, Callable[[], str]] = {}

    def watch(self, stage: str, check: Callable[[], str]) -> None:
        """Ask `check` at every snapshot; it returns what is wrong, "" for nothing."""
        self._checks[stage] = check

    async def load(self, stage: str, work: Awaitable[None]) -> None:
        """Await `work` and note how it went; its error is noted and raised."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._states[stage] = f"failed: {error or type(error).__name__}"
            raise
        self._states[stage] = READY

    def snapshot(self) -> Readiness:
        """Return the state now."""
        stages = dict(self._states)
        for stage, check in self._checks.items():
            if stages[stage] == READY and (fault := check()):
                stages[stage] = f"failed: {fault}"
        return Readiness(
            all(state == READY for state in stages.values()), stages, dict(self._descriptions), self._simulated
        )
