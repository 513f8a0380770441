"""The fault `caller.herd`: whoever is to call while it is in force calls at one instant, when it ends."""

import asyncio
from dataclasses import dataclass, field

from harness.callers.call import Call
from harness.model.clock import monotonic_ns
from harness.model.fault import Evidence, Fault
from harness.model.plan import CallPlan

_WHAT = "calls that began at one instant"


@dataclass(slots=True)
class _Told:
    fault: Fault
    # The instant at which all of them call.
    released: "asyncio.Future[int]"
    waiting: dict[str, None] = field(default_factory=dict)


class HerdFaults:
    """All herds that gather in this engine."""

    def __init__(self) -> None:
        self._faults: dict[str, _Told] = {}

    def begin(self, fault: Fault) -> None:
        """Let a herd gather."""
        self._faults[fault.name] = _Told(fault, asyncio.get_running_loop().create_future())

    async def hold(self, name: str, plan: CallPlan) -> int | None:
        """Return when the call may begin, having waited for that; monotonic ns, None where no herd gathers."""
        told = self._faults.get(name)
        if told is None:
            return None
        told.waiting[plan.call_id] = None
        try:
            released_at_ns = await asyncio.shield(told.released)
        except asyncio.CancelledError:
            # It is not to call any more.
            told.waiting.pop(plan.call_id, None)
            raise
        return released_at_ns

    def vary(self, name: str, plan: CallPlan) -> CallPlan:  # noqa: ARG002 - what every family offers
        """Return the plan as it is; only its time is another."""
        return plan

    def join(self, name: str, call: Call) -> bool:  # noqa: ARG002 - same
        """Leave calls that are up alone."""
        return True

    def leave(self, name: str, call: Call) -> bool:  # noqa: ARG002 - same
        """Leave calls that go on alone."""
        return True

    def over(self, call_id: str) -> None:
        """Nothing is kept of a call."""

    def evidence(self, name: str) -> Evidence:
        """Return the calls that wait: as long as none of them has called, nothing was done to the agent."""
        told = self._faults.get(name)
        return Evidence() if told is None else Evidence(0, _WHAT, {"waiting": len(told.waiting)})

    def end(self, name: str) -> Evidence:
        """Let them all call now."""
        told = self._faults.pop(name, None)
        if told is None:
            return Evidence()
        told.released.set_result(monotonic_ns())
        calls = tuple(told.waiting)
        return Evidence(len(calls), _WHAT, {"calls": len(calls)}, calls)
