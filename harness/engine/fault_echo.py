"""The fault `caller.echo`: what the agent says goes back to it, on calls in progress and on those that begin."""

from dataclasses import dataclass, field, replace

from harness.callers.call import Call
from harness.media.echo_line import EchoCounts, EchoLine
from harness.model.errors import GeneratorError
from harness.model.fault import Evidence, Fault
from harness.model.plan import CallPlan


@dataclass(slots=True)
class _Told:
    fault: Fault
    on: dict[str, EchoLine] = field(default_factory=dict)
    # Of calls that are over, or that the fault was taken off.
    past: EchoCounts = field(default_factory=EchoCounts)
    # Those whose agent has heard itself.
    calls: list[str] = field(default_factory=list)
    seen: int = 0
    refused: str = ""


class EchoFaults:
    """All echoes in force in this engine; a call has one at a time."""

    def __init__(self) -> None:
        self._faults: dict[str, _Told] = {}
        # Taken off calls that go on: their rings are not free yet.
        self._stopped: dict[str, list[EchoLine]] = {}

    def begin(self, fault: Fault) -> None:
        """Have a fault; calls come by `join`."""
        self._faults[fault.name] = _Told(fault)

    def vary(self, name: str, plan: CallPlan) -> CallPlan:  # noqa: ARG002 - what every family offers
        """Have the call recorded: by its two sides is told whether the agent answered itself."""
        return replace(plan, record=True)

    def join(self, name: str, call: Call) -> bool:
        """Begin to echo on a call that is up; one without packets of its own has no echo."""
        told, media, call_id = self._faults.get(name), call.media, call.plan.call_id
        if told is None or any(call_id in other.on for other in self._faults.values()):
            return True
        told.seen += 1
        if media is None:
            return True
        said = told.fault.parameters
        line = EchoLine(media, float(str(said["delay_ms"])), float(str(said["gain_db"])))
        try:
            line.start()
        except GeneratorError as error:
            told.refused = str(error)
            return True
        told.on[call_id] = line
        return True

    def leave(self, name: str, call: Call) -> bool:
        """Take the echo off a call that goes on."""
        told, call_id = self._faults.get(name), call.plan.call_id
        line = None if told is None else told.on.pop(call_id, None)
        if told is not None and line is not None:
            line.stop()
            _keep(told, call_id, line.counts)
            self._stopped.setdefault(call_id, []).append(line)
        return True

    def over(self, call_id: str) -> None:
        """Take note that a call has ended: its rings are free."""
        for stopped in self._stopped.pop(call_id, []):
            stopped.give_back()
        for told in self._faults.values():
            line = told.on.pop(call_id, None)
            if line is not None:
                line.give_back()
                _keep(told, call_id, line.counts)

    def evidence(self, name: str) -> Evidence:
        """Return the packets with the agent's own sound that have left."""
        told = self._faults.get(name)
        if told is None:
            return Evidence()
        now = [line.counts for line in told.on.values()]
        sent, masked = (sum(getattr(one, field_name) for one in (told.past, *now)) for field_name in ("sent", "masked"))
        heard = [*told.calls, *(call_id for call_id, line in told.on.items() if line.counts.sent)]
        counts = {"seen": told.seen, "calls": len(heard), "packets_echoed": sent, "packets_left_out": masked}
        return Evidence(sent, "packets of the agent's own sound sent back", counts, tuple(heard), told.refused)

    def end(self, name: str) -> Evidence:
        """Forget a fault that was taken off every call; return its last evidence."""
        evidence = self.evidence(name)
        self._faults.pop(name, None)
        return evidence


def _keep(told: _Told, call_id: str, counts: EchoCounts) -> None:
    told.past.sent += counts.sent
    told.past.masked += counts.masked
    if counts.sent:
        told.calls.append(call_id)
