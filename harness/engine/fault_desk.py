"""The faults that this engine carries out: begun and ended by the wire, put on its calls, told with their evidence."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

from harness.callers.call import Call
from harness.callers.exchange import Spoken
from harness.engine.fault_callers import CallerFaults
from harness.engine.fault_echo import EchoFaults
from harness.engine.fault_half_open import HalfOpenFaults
from harness.engine.fault_herd import HerdFaults
from harness.engine.fault_junk import JunkFaults
from harness.engine.fault_network import NetworkFaults
from harness.model.fault import Evidence, Fault, is_chosen
from harness.model.plan import CallPlan

# Calls that are told of a fault in one go, before others get their turn.
_AT_ONCE = 64
_BUSY_S = 0.002

Tell = Callable[[str, Evidence, bool], None]


class Work(Protocol):
    """What carries out the faults of a family. Every method may be told of calls and names it does not know."""

    def begin(self, fault: Fault) -> None:
        """Have a fault."""

    def vary(self, name: str, plan: CallPlan) -> CallPlan:
        """Return the plan of a call about to begin as the fault has it."""

    def join(self, name: str, call: Call) -> bool:
        """Put a fault on a call that is up; False = ask again in a moment."""

    def leave(self, name: str, call: Call) -> bool:
        """Take a fault off a call that goes on; False = ask again in a moment."""

    def over(self, call_id: str) -> None:
        """Take note that a call has ended."""

    def evidence(self, name: str) -> Evidence:
        """Return what a fault has done so far."""

    def end(self, name: str) -> Evidence:
        """Forget a fault that was taken off every call; return its last evidence."""


class FaultDesk:
    """All faults in force in one engine. `calls`: those that have begun, by id. `tell`: name, evidence, is it over."""

    def __init__(self, calls: Mapping[str, Call], tell: Tell) -> None:
        self._calls, self._tell = calls, tell
        self._callers, self._herds = CallerFaults(), HerdFaults()
        network = NetworkFaults()
        # By kind, or by family.
        self._works: dict[str, Work] = {
            "network": network,
            "caller": self._callers,
            "caller.echo": EchoFaults(),
            "caller.half_open": HalfOpenFaults(network),
            "caller.herd": self._herds,
            "caller.malformed_rtp": JunkFaults(),
        }
        self._faults: dict[str, Fault] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def know(self, utterances: Mapping[str, Spoken]) -> None:
        """Take note of what callers can say."""
        self._callers.utterances = utterances

    def begin(self, fault: Fault) -> None:
        """Put a fault in force; a second word of the same one changes nothing."""
        if fault.name in self._faults:
            return
        self._faults[fault.name] = fault
        self._work(fault).begin(fault)
        self._spawn(self._put_on_all(fault))

    def end(self, name: str) -> None:
        """Take a fault off every call, then tell its last evidence."""
        fault = self._faults.pop(name, None)
        if fault is not None:
            self._spawn(self._take_off_all(fault))

    async def hold(self, plan: CallPlan, due_at_ns: int | None) -> int | None:
        """Return when a call about to begin is due, having waited for that where a herd gathers; monotonic ns."""
        for fault in list(self._faults.values()):
            if fault.kind == "caller.herd" and takes_in(fault, plan):
                released_at_ns = await self._herds.hold(fault.name, plan)
                due_at_ns = due_at_ns if released_at_ns is None else released_at_ns
        return due_at_ns

    def vary(self, plan: CallPlan) -> CallPlan:
        """Return the plan of a call about to begin as the faults in force have it."""
        for fault in self._faults.values():
            if takes_in(fault, plan):
                plan = self._work(fault).vary(fault.name, plan)
        return plan

    def begun(self, call: Call) -> None:
        """Take note of a call that has a plan of ours and is about to be set up."""
        self._callers.begun(call)

    def up(self, call: Call) -> None:
        """Take note that a call is connected."""
        for fault in self._faults.values():
            if takes_in(fault, call.plan) and not self._work(fault).join(fault.name, call):
                self._spawn(self._until_done(call, partial(self._work(fault).join, fault.name, call)))

    def over(self, call_id: str) -> None:
        """Take note that a call has ended."""
        for work in self._works.values():
            work.over(call_id)

    def report(self) -> None:
        """Tell the evidence of every fault in force."""
        for fault in self._faults.values():
            self._tell(fault.name, self._work(fault).evidence(fault.name), False)

    async def drain(self) -> None:
        """End every fault: the run is over."""
        for name in list(self._faults):
            self.end(name)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)

    def _work(self, fault: Fault) -> Work:
        return self._works.get(fault.kind) or self._works[fault.kind.partition(".")[0]]

    async def _put_on_all(self, fault: Fault) -> None:
        work = self._work(fault)
        for n, call in enumerate(list(self._calls.values())):
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if fault.name in self._faults and takes_in(fault, call.plan):
                await self._until_done(call, partial(work.join, fault.name, call))
        self._tell(fault.name, work.evidence(fault.name), False)

    async def _take_off_all(self, fault: Fault) -> None:
        work = self._work(fault)
        for n, call in enumerate(list(self._calls.values())):
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)
            await self._until_done(call, partial(work.leave, fault.name, call))
        self._tell(fault.name, work.end(fault.name), True)

    async def _until_done(self, call: Call, ask: Callable[[], bool]) -> None:
        """Ask until it is done, or the call is over: that one has nothing left to be asked about."""
        # The loop, a thread of its own, rings no bell for this.
        while self._calls.get(call.plan.call_id) is call and not ask():  # noqa: ASYNC110
            await asyncio.sleep(_BUSY_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def takes_in(fault: Fault, plan: CallPlan) -> bool:
    """Whether a fault is meant for this call."""
    chosen = fault.filter
    if chosen.callers and plan.caller not in chosen.callers:
        return False
    if chosen.targets and plan.target.name not in chosen.targets:
        return False
    return is_chosen(fault.seed, fault.name, plan.call_id, chosen.share)
