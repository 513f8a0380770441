"""Faults of the network, put on the calls of this engine and taken off again, in the middle of them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

from harness.callers.call import Call
from harness.faults.families.network import TOUCHES, combined, credits_of, goes, impairment_of
from harness.media.call_counts import Impaired
from harness.media.media_call import MediaCall
from harness.model.fault import Evidence, Fault
from harness.model.impairment import Direction, Impairment, direction_seed
from harness.model.plan import CallPlan

_NONE = Impaired()
# Of sums of shares.
_ROUNDING = 1e-6
_WHAT = {
    "lost": "packets lost",
    "delayed": "packets delayed",
    "reordered": "packets held back",
    "duplicated": "packets doubled",
}


@dataclass(slots=True)
class _OnCall:
    """One fault on one call: what the call's network had counted since when, and whose doing that is."""

    before: Impaired
    # By count, the share that is the fault's own, beside the other networks on the call.
    credits: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class NetworkFault:
    """One fault, and the calls it is on."""

    fault: Fault
    impairment: Impairment
    on: dict[str, _OnCall] = field(default_factory=dict)
    # Of calls that are over, and of other networks that were beside it; the packets among them that it touched.
    past: Impaired = _NONE
    touched: float = 0.0
    calls: list[str] = field(default_factory=list)

    def evidence(self, now: Callable[[str], Impaired | None]) -> Evidence:
        """Return the packets it has touched; `now` tells what a call's network has counted."""
        total, touched = self.past, self.touched
        for call_id, one in self.on.items():
            after = now(call_id)
            if after is not None:
                counted = _difference(after, one.before)
                total, touched = _sum(total, counted), touched + _credited(counted, one.credits)
        names = TOUCHES[self.fault.kind]
        counts = {"calls": len(self.calls), **{f"packets_{name}": value for name, value in total._asdict().items()}}
        # A share that does not make one packet is none.
        whole = int(touched + _ROUNDING) if self.impairment.does_something else 0
        return Evidence(whole, _WHAT[names[0]], counts, tuple(self.calls))

    def settle(self, call_id: str, now: Impaired) -> None:
        """Take what a call's network has counted so far, and count on from there."""
        one = self.on[call_id]
        counted = _difference(now, one.before)
        self.past, self.touched = _sum(self.past, counted), self.touched + _credited(counted, one.credits)
        one.before = now


def _credited(counted: Impaired, credits_: dict[str, float]) -> float:
    own = counted._replace(lost=counted.lost - counted.queue_lost)
    return float(sum(share * getattr(own, name) for name, share in credits_.items()))


def _sum(one: Impaired, other: Impaired) -> Impaired:
    return Impaired(*(a + b for a, b in zip(one, other, strict=True)))


def _difference(one: Impaired, other: Impaired) -> Impaired:
    return Impaired(*(a - b for a, b in zip(one, other, strict=True)))


class NetworkFaults:
    """All faults of the network in force in this engine."""

    def __init__(self) -> None:
        self._faults: dict[str, NetworkFault] = {}
        self._media: dict[str, MediaCall] = {}

    def begin(self, fault: Fault) -> None:
        """Have a fault; calls come by `join`."""
        self._faults[fault.name] = NetworkFault(fault, impairment_of(fault))

    def vary(self, name: str, plan: CallPlan) -> CallPlan:  # noqa: ARG002 - what every family offers
        """Return the plan as it is: a call meets the network when it is up."""
        return plan

    def join(self, name: str, call: Call) -> bool:
        """Put a fault on a call that is up; False where the loop is too busy, and it is to be asked again."""
        fault, media = self._faults.get(name), call.media
        if fault is None or media is None or call.plan.call_id in fault.on:
            return True
        call_id = call.plan.call_id
        fault.on[call_id] = _OnCall(media.impaired())
        if not self._apply(call.plan, media):
            del fault.on[call_id]
            return False
        fault.calls.append(call_id)
        self._media[call_id] = media
        return True

    def leave(self, name: str, call: Call) -> bool:
        """Take a fault off a call that goes on; False where the loop is too busy."""
        fault, media = self._faults.get(name), call.media
        one = None if fault is None else fault.on.pop(call.plan.call_id, None)
        if fault is None or one is None or media is None:
            return True
        if not self._apply(call.plan, media):
            fault.on[call.plan.call_id] = one
            return False
        fault.on[call.plan.call_id] = one
        fault.settle(call.plan.call_id, media.impaired())
        del fault.on[call.plan.call_id]
        return True

    def over(self, call_id: str) -> None:
        """Take note that a call has ended."""
        media = self._media.pop(call_id, None)
        for fault in self._faults.values():
            if call_id in fault.on and media is not None:
                fault.settle(call_id, media.impaired())
            fault.on.pop(call_id, None)

    def end(self, name: str) -> Evidence:
        """Forget a fault that was taken off every call; return its last evidence."""
        evidence = self.evidence(name)
        self._faults.pop(name, None)
        return evidence

    def evidence(self, name: str) -> Evidence:
        """Return what a fault has done."""
        fault = self._faults.get(name)
        return Evidence() if fault is None else fault.evidence(self._count)

    def _count(self, call_id: str) -> Impaired | None:
        media = self._media.get(call_id)
        return None if media is None else media.impaired()

    def _apply(self, plan: CallPlan, media: MediaCall) -> bool:
        """Have a call go through its own network and those of all faults that are on it."""
        own: dict[Direction, Impairment | None] = {"outgoing": plan.impair_outgoing, "incoming": plan.impair_incoming}
        there = [one for one in self._faults.values() if plan.call_id in one.on]
        for direction in get_args(Direction):
            impairment = own[direction]
            for one in there:
                if goes(one.fault, direction):
                    drawn = zlib.crc32(f"{one.fault.seed}/{one.fault.name}".encode())
                    seed = direction_seed(plan.seed ^ drawn, direction)
                    impairment = combined(impairment, one.impairment, seed)
            if not media.impair(direction, impairment):
                return False
        for one in there:
            one.settle(plan.call_id, media.impaired())
            one.on[plan.call_id].credits = credits_of(one.fault, _beside(one, there, own))
        return True


def _beside(
    fault: NetworkFault, there: list[NetworkFault], own: dict[Direction, Impairment | None]
) -> dict[str, list[Impairment]]:
    """Return the networks that a call's packets go through beside a fault's, by direction."""
    found: dict[str, list[Impairment]] = {}
    for direction, impairment in own.items():
        others = [one.impairment for one in there if one is not fault and goes(one.fault, direction)]
        found[direction] = [*([impairment] if impairment is not None else []), *others]
    return found
