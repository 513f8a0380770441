"""Faults of callers: the plans of calls that begin while one is in force, as it has them."""

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.callers import conduct
from harness.callers.call import Call
from harness.faults.families.caller import DEAD_TURN, digits_of
from harness.model.fault import Evidence, Fault
from harness.model.plan import PROPER, CallPlan, IceServer, Misconduct, PlannedAction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.callers.exchange import Spoken

_NO_PASSWORD = "not the password"  # noqa: S105  that is the point
_MOST_KEYS = 32
# What a call counts itself, message by message; of the other kinds the calls are counted whose plans were changed.
_COUNTED: "Mapping[str, tuple[str, Callable[[Call], int]]]" = {
    "caller.slow_signalling": ("messages delayed", lambda call: call.conduct.counts[conduct.DELAYED]),
    "caller.malformed_sip": ("malformed messages sent", lambda call: call.conduct.counts[conduct.MALFORMED]),
    "caller.no_ack": ("acknowledgements withheld", lambda call: call.conduct.counts[conduct.ACKS_WITHHELD]),
    "caller.barge_in": ("utterances begun over the agent's voice", lambda call: call.barge_ins),
}


@dataclass(slots=True)
class _Told:
    fault: Fault
    calls: dict[str, None] = field(default_factory=dict)
    seen: int = 0
    # Those of them that go on and count, what the others counted, and those that counted anything.
    open: dict[str, Call] = field(default_factory=dict)
    past: int = 0
    met: list[str] = field(default_factory=list)


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
            told.calls[plan.call_id] = None
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
            case "caller.slow_signalling" | "caller.malformed_sip" | "caller.no_ack" | "caller.barge_in":
                wrong = misconduct_of(fault, plan)
                return plan if wrong == (plan.misconduct or PROPER) else replace(plan, misconduct=wrong)
            case "caller.malformed_sdp" if plan.target.transport in ("webrtc", "rtp", "sip"):
                return replace(plan, sabotage="malformed")
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

    def begun(self, call: Call) -> None:
        """Take note of a call whose plan may be one of ours: what it does wrong is counted by itself."""
        for told in self._faults.values():
            if told.fault.kind in _COUNTED and call.plan.call_id in told.calls:
                told.open[call.plan.call_id] = call

    def join(self, name: str, call: Call) -> bool:  # noqa: ARG002 - what every family offers
        """Leave calls that go on alone."""
        return True

    def leave(self, name: str, call: Call) -> bool:  # noqa: ARG002 - same
        """Leave calls that go on alone."""
        return True

    def over(self, call_id: str) -> None:
        """Keep of a call what it has counted."""
        for told in self._faults.values():
            call = told.open.pop(call_id, None)
            if call is not None:
                count = _COUNTED[told.fault.kind][1](call)
                told.past += count
                if count:
                    told.met.append(call_id)

    def evidence(self, name: str) -> Evidence:
        """Return the calls whose plans were another's."""
        told = self._faults.get(name)
        if told is None:
            return Evidence()
        if told.fault.kind in _COUNTED:
            return _counted(told)
        return Evidence(
            len(told.calls), "calls changed", {"seen": told.seen, "calls": len(told.calls)}, tuple(told.calls)
        )

    def end(self, name: str) -> Evidence:
        """Forget a fault."""
        evidence = self.evidence(name)
        self._faults.pop(name, None)
        return evidence


def _counted(told: _Told) -> Evidence:
    """Return what the calls themselves have counted."""
    what, count = _COUNTED[told.fault.kind]
    now = {call_id: count(call) for call_id, call in told.open.items()}
    touched = told.past + sum(now.values())
    met = (*told.met, *(call_id for call_id, done in now.items() if done))
    return Evidence(touched, what, {"seen": told.seen, "calls": len(met)}, met)


def misconduct_of(fault: Fault, plan: CallPlan) -> Misconduct:
    """Return what the caller of a plan does wrong under a fault; what it did before where that adds nothing."""
    said, wrong, transport = fault.parameters, plan.misconduct or PROPER, plan.target.transport
    is_sip = transport == "sip"
    match fault.kind:
        case "caller.slow_signalling" if is_sip or plan.target.url.startswith(("http://", "https://")):
            return replace(wrong, signalling_delay_ms=float(str(said["delay_ms"])))
        case "caller.malformed_sip" if is_sip:
            return replace(wrong, malformed_ratio=float(str(said["ratio"])))
        case "caller.no_ack" if is_sip:
            return replace(wrong, never_acks=True)
        case "caller.barge_in":
            after_ms, times = float(str(said["after_ms"])), int(str(said["times"]))
            return replace(wrong, barge_in_after_ms=after_ms, barge_ins=times)
        case _:
            return wrong


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
