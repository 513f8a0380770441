"""The fault `caller.malformed_rtp`: beside its audio a caller sends datagrams that begin like RTP and are none."""

import asyncio
import random
from dataclasses import dataclass, field

from harness.callers.call import Call
from harness.callers.malformed import malformed_rtp
from harness.model.fault import Evidence, Fault
from harness.model.plan import CallPlan

# Datagrams of one call leave in such steps.
_STEP_S = 0.1


@dataclass(slots=True)
class _Sender:
    rng: random.Random
    # What is due of a datagram, in fractions.
    due: float = 0.0
    sent: int = 0
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Told:
    fault: Fault
    on: dict[str, _Sender] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    past: int = 0


class JunkFaults:
    """All such faults in force in this engine."""

    def __init__(self) -> None:
        self._faults: dict[str, _Told] = {}

    def begin(self, fault: Fault) -> None:
        """Have a fault; calls come by `join`."""
        self._faults[fault.name] = _Told(fault)

    def vary(self, name: str, plan: CallPlan) -> CallPlan:  # noqa: ARG002 - what every family offers
        """Return the plan as it is: its datagrams come beside the call's own."""
        return plan

    def join(self, name: str, call: Call) -> bool:
        """Begin to send on a call that is up and has packets."""
        told, call_id = self._faults.get(name), call.plan.call_id
        if told is not None and call.media is not None and call_id not in told.on:
            sender = told.on[call_id] = _Sender(random.Random(f"{told.fault.seed}/{name}/{call_id}"))
            self._send(told, call, sender)
        return True

    def _send(self, told: _Told, call: Call, sender: _Sender) -> None:
        media = call.media
        if media is None:
            return
        sender.due += float(str(told.fault.parameters["per_s"])) * _STEP_S
        while sender.due >= 1:
            sender.due -= 1
            sender.sent += media.send_beside(malformed_rtp(sender.rng, media.spec.payload_type, media.spec.ssrc))
        sender.timer = asyncio.get_running_loop().call_later(_STEP_S, self._send, told, call, sender)

    def leave(self, name: str, call: Call) -> bool:
        """Send no more on a call that goes on."""
        told = self._faults.get(name)
        if told is not None:
            self._stop(told, call.plan.call_id)
        return True

    def over(self, call_id: str) -> None:
        """Take note that a call has ended."""
        for told in self._faults.values():
            self._stop(told, call_id)

    def _stop(self, told: _Told, call_id: str) -> None:
        sender = told.on.pop(call_id, None)
        if sender is None:
            return
        if sender.timer is not None:
            sender.timer.cancel()
        told.past += sender.sent
        if sender.sent:
            told.calls.append(call_id)

    def evidence(self, name: str) -> Evidence:
        """Return the datagrams that were sent."""
        told = self._faults.get(name)
        if told is None:
            return Evidence()
        sent = told.past + sum(sender.sent for sender in told.on.values())
        calls = dict.fromkeys([*told.calls, *(call_id for call_id, sender in told.on.items() if sender.sent)])
        return Evidence(sent, "malformed datagrams sent", {"calls": len(calls), "datagrams": sent}, tuple(calls))

    def end(self, name: str) -> Evidence:
        """Forget a fault that was taken off every call; return its last evidence."""
        evidence = self.evidence(name)
        self._faults.pop(name, None)
        return evidence
