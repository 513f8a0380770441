"""A fault that the engines of a run carry out, on their callers and the packets of these. It dies with its engine."""

from harness.faults.effect import EngineFaults, Means, need_engines
from harness.faults.reverts import Revert
from harness.model.fault import Evidence, Fault


class EngineFault:
    """Passes a fault on to the engines."""

    def __init__(self, fault: Fault, engines: EngineFaults) -> None:
        self._fault, self._engines = fault, engines
        self._last: Evidence | None = None

    @property
    def reverts(self) -> tuple[Revert, ...]:
        """None: nothing of it outlives the engines."""
        return ()

    def start(self) -> None:
        """Tell the engines."""
        self._engines.begin_fault(self._fault)

    def evidence(self) -> Evidence:
        """Return what they have told so far."""
        return self._engines.fault_evidence(self._fault.name)

    def stop(self) -> Evidence:
        """Have them let go."""
        if self._last is None:
            self._last = self._engines.end_fault(self._fault.name)
        return self._last


def make(fault: Fault, means: Means) -> EngineFault:
    """Return the fault as the run's engines carry it out."""
    return EngineFault(fault, need_engines(means, fault))
