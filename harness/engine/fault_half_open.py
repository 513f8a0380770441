"""The fault `caller.half_open`: callers vanish in the middle of a call, with their media and their signalling."""

import asyncio
from dataclasses import dataclass, field

from harness.callers.call import Call
from harness.callers.conduct import WITHHELD
from harness.engine.fault_network import NetworkFaults
from harness.model.fault import Evidence, Fault, Where
from harness.model.plan import CallPlan

_TRY_AGAIN_S = 0.01


@dataclass(slots=True)
class _Told:
    fault: Fault
    # What takes the packets of those that have vanished.
    silence: Fault
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    gone: dict[str, Call] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    # Of calls that are over.
    past: int = 0


class HalfOpenFaults:
    """All such faults in force in this engine; `network` is what takes a vanished caller's packets."""

    def __init__(self, network: NetworkFaults) -> None:
        self._network = network
        self._faults: dict[str, _Told] = {}
        # Over, while calls of theirs are still silent.
        self._ended: list[_Told] = []

    def begin(self, fault: Fault) -> None:
        """Have a fault; calls come by `join`."""
        silence = Fault(f"{fault.name}.gone", "network.partition", Where.NETWORK, parameters={"direction": "both"})
        self._network.begin(silence)
        self._faults[fault.name] = _Told(fault, silence)

    def vary(self, name: str, plan: CallPlan) -> CallPlan:  # noqa: ARG002 - what every family offers
        """Return the plan as it is: a call vanishes once it is up."""
        return plan

    def join(self, name: str, call: Call) -> bool:
        """Have a call that is up vanish in a while."""
        told, call_id = self._faults.get(name), call.plan.call_id
        if told is not None and call_id not in told.timers and call_id not in told.gone:
            after_s = float(str(told.fault.parameters["after_ms"])) / 1000
            told.timers[call_id] = asyncio.get_running_loop().call_later(after_s, self._vanish, told, call)
        return True

    def _vanish(self, told: _Told, call: Call) -> None:
        call_id = call.plan.call_id
        told.timers.pop(call_id, None)
        if not call.can_vanish:
            return
        if not self._network.join(told.silence.name, call):
            loop = asyncio.get_running_loop()
            told.timers[call_id] = loop.call_later(_TRY_AGAIN_S, self._vanish, told, call)
            return
        call.vanish(f"the caller vanished on purpose (fault {told.fault.name})")
        told.gone[call_id] = call
        told.calls.append(call_id)

    def leave(self, name: str, call: Call) -> bool:
        """Let a call stay; one that has vanished does not come back."""
        told = self._faults.get(name)
        timer = None if told is None else told.timers.pop(call.plan.call_id, None)
        if timer is not None:
            timer.cancel()
        return True

    def over(self, call_id: str) -> None:
        """Take note that a call has ended."""
        for told in [*self._faults.values(), *self._ended]:
            timer, call = told.timers.pop(call_id, None), told.gone.pop(call_id, None)
            if timer is not None:
                timer.cancel()
            if call is not None:
                told.past += call.conduct.counts[WITHHELD]
        for told in [one for one in self._ended if not one.gone]:
            self._let_go(told)

    def evidence(self, name: str) -> Evidence:
        """Return what of the vanished callers did not leave or arrive any more."""
        told = self._faults.get(name)
        if told is None:
            return Evidence()
        messages = told.past + sum(call.conduct.counts[WITHHELD] for call in told.gone.values())
        packets = self._network.evidence(told.silence.name).touched
        counts: dict[str, float] = {
            "calls": len(told.calls),
            "packets_withheld": packets,
            "messages_withheld": messages,
        }
        return Evidence(packets + messages, "packets and messages withheld", counts, tuple(told.calls))

    def end(self, name: str) -> Evidence:
        """Forget a fault; those that have vanished stay so."""
        evidence = self.evidence(name)
        told = self._faults.pop(name, None)
        if told is not None:
            self._ended.append(told)
            if not told.gone:
                self._let_go(told)
        return evidence

    def _let_go(self, told: _Told) -> None:
        """Forget what took the packets of those that had vanished: the last of them is over."""
        self._ended.remove(told)
        self._network.end(told.silence.name)
