"""Start-up of each stage, and what /readyz says about it meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

from harness.model.clock import monotonic_ns, ms_between
from target_stack.readiness import Readiness

LOADING = "loading"
READY = "ready"


class Loading:
    """State per stage. A stage may also be watched: it is ready only as long as its check gives no fault."""

    def __init__(self, descriptions: dict[str, str], simulated: tuple[str, ...] = (), profile: str = "cpu") -> None:
        self._profile = profile
        self._simulated = simulated
        self._descriptions = dict(descriptions)
        self._states = dict.fromkeys(descriptions, LOADING)
        self._checks: dict[str, Callable[[], str]] = {}
        # How long each stage took to load, by stage.
        self.load_ms: dict[str, float] = {}

    def watch(self, stage: str, check: Callable[[], str]) -> None:
        """Ask `check` at every snapshot; it returns what is wrong, "" for nothing."""
        self._checks[stage] = check

    async def load(self, stage: str, work: Awaitable[None]) -> None:
        """Await `work` and note how it went; its error is noted and raised."""
        began_ns = monotonic_ns()
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._states[stage] = f"failed: {error or type(error).__name__}"
            raise
        self._states[stage] = READY
        self.load_ms[stage] = ms_between(began_ns, monotonic_ns())

    def snapshot(self) -> Readiness:
        """Return the state now."""
        stages = dict(self._states)
        for stage, check in self._checks.items():
            if stages[stage] == READY and (fault := check()):
                stages[stage] = f"failed: {fault}"
        is_ready = all(state == READY for state in stages.values())
        return Readiness(is_ready, stages, dict(self._descriptions), self._simulated, self._profile)
