"""What a scenario will ask of each engine at its peak: calls at once, and packets held back by impairments."""

import math

from harness.model.impairment import Direction, Impairment
from harness.model.needs import Needs
from harness.scenario.check import Prepared
from harness.scenario.concurrency import peak_calls
from harness.scenario.plans import impairment_of
from harness.scenario.schema import Scenario

_PACKETS_PER_S = 50
_DIRECTIONS: tuple[Direction, ...] = ("outgoing", "incoming")


def needs_of(prepared: Prepared, engines: int = 1) -> Needs:
    """Return the needs of each of `engines` engines that share the run."""
    scenario = prepared.loaded.scenario
    calls = math.ceil(peak_calls(prepared) / engines)
    target = prepared.target
    return Needs(
        calls=calls,
        is_certain=scenario.load.users is not None,
        transport=target.transport,
        source_ports=target.source_ports,
        audio=target.sip is None or target.sip.media,
        held_packets=math.ceil(calls * held_packets_per_call(scenario)),
    )


def held_packets_per_call(scenario: Scenario) -> float:
    """Return how many packets of a call the impairments hold back at once, at most, on average over the callers."""
    total = sum(caller.weight for caller in scenario.callers)
    return sum(
        caller.weight / total * sum(_held(impairment_of(scenario, caller, direction)) for direction in _DIRECTIONS)
        for caller in scenario.callers
    )


def _held(impairment: Impairment | None) -> float:
    if impairment is None:
        return 0.0
    return impairment.max_delay_ms / 1000 * _PACKETS_PER_S * (1 + impairment.duplicate_ratio)
