"""Faults of callers: the plans of calls that begin while one is in force, as it has them."""

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.callers.call import Call
from harness.faults.families.caller import DEAD_TURN, digits_of
from harness.model.fault import Evidence, Fault
from harness.model.plan import CallPlan, IceServer, PlannedAction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.callers.exchange import Spoken

_NO_PASSWORD = "not the password"  # noqa: S105  that is the point
_MOST_KEYS = 32


@dataclass(slots=True)
class _Told:
    fault: Fault
    calls: list[str] = field(default_factory=list)
    seen: int = 0


class CallerFaults:
    """All faults of callers in force in this engine."""

    def __init__(self) -> None:
        # The corpus, once there is one.
        self.utterances: Mapping[str, Spoken] = {}
        self._faults: dict[str, _Told] = {}

    def begin(self, fault: Fault) -> None:
        """Have a fault; it meets the calls that begin from now on."""
        self._faults[fault.name] = _Told(fault)

    def vary(self, name: str, plan: CallPlan) -> CallPlan:
        """Return the plan as the fault has it; counted where that is another one."""
        told = self._faults[name]
        told.seen += 1
        varied = self._varied(told.fault, plan)
        if varied != plan:
            told.calls.append(plan.call_id)
        return varied

    def _varied(self, fault: Fault, plan: CallPlan) -> CallPlan:
        match fault.kind:
            case "caller.silence" if plan.turns:
                first, *rest = plan.turns
                later_ms = first.think_ms + float(str(fault.parameters["silence_ms"]))
                return replace(plan, turns=(replace(first, think_ms=later_ms), *rest))
            case "caller.long_utterance":
                return self._at_length(fault, plan)
            case "caller.dtmf_flood" if plan.target.transport in ("sip", "media_stream"):
                keys = digits_of(fault)
                flood = tuple(PlannedAction(keys[at : at + _MOST_KEYS]) for at in range(0, len(keys), _MOST_KEYS))
                return replace(plan, turns=tuple(replace(turn, actions=(*flood, *turn.actions)) for turn in plan.turns))
            case "caller.dtls_failure" if plan.target.transport == "webrtc":
                return replace(plan, sabotage="wrong_fingerprint")
            case "caller.ice_failure" if plan.target.transport == "webrtc":
                return _without_ice(str(fault.parameters["how"]), plan)
            case _:
                return plan

    def _at_length(self, fault: Fault, plan: CallPlan) -> CallPlan:
        least_ms = float(str(fault.parameters["least_s"])) * 1000
        said = {turn.utterance_id for turn in plan.turns}
        known = [self.utterances[one].accent for one in said if one in self.utterances]
        long = sorted(name for name, one in self.utterances.items() if one.duration_ms >= least_ms)
        # The same person speaks, where that accent has so long an utterance.
        own = [name for name in long if self.utterances[name].accent in known]
        pool = own or long
        if not pool:
            return plan
        rng = random.Random(f"{fault.seed}/{fault.name}/{plan.call_id}")
        return replace(plan, turns=tuple(replace(turn, utterance_id=rng.choice(pool)) for turn in plan.turns))

    def join(self, name: str, call: Call) -> bool:  # noqa: ARG002 - what every family offers
        """Leave calls that go on alone."""
        return True

    def leave(self, name: str, call: Call) -> bool:  # noqa: ARG002 - same
        """Leave calls that go on alone."""
        return True

    def over(self, call_id: str) -> None:
        """Nothing is kept of a call."""

    def evidence(self, name: str) -> Evidence:
        """Return the calls whose plans were another's."""
        told = self._faults.get(name)
        if told is None:
            return Evidence()
        return Evidence(
            len(told.calls), "calls changed", {"seen": told.seen, "calls": len(told.calls)}, tuple(told.calls)
        )

    def end(self, name: str) -> Evidence:
        """Forget a fault."""
        evidence = self.evidence(name)
        self._faults.pop(name, None)
        return evidence


def _without_ice(how: str, plan: CallPlan) -> CallPlan:
    """Return the plan of a call whose ICE is broken so; one without TURN servers has none to lose."""
    if how in ("blocked_udp", "mdns_only"):
        return replace(plan, sabotage=how)
    ice = plan.target.ice
    if ice is None or not any(_is_turn(server) for server in ice.servers):
        return plan
    broken = tuple(_broken(server, how) if _is_turn(server) else server for server in ice.servers)
    # Where a direct way is open a relay is not missed.
    return replace(plan, target=replace(plan.target, ice=replace(ice, servers=broken, policy="relay")))


def _is_turn(server: IceServer) -> bool:
    return any(url.startswith(("turn:", "turns:")) for url in server.urls)


def _broken(server: IceServer, how: str) -> IceServer:
    if how == "wrong_credentials":
        return replace(server, credential=_NO_PASSWORD)
    return replace(server, urls=(f"turn:{DEAD_TURN}?transport=udp",))
