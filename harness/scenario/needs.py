"""What a scenario will ask of each engine at its peak: calls at once, and packets held back by impairments."""

import math
from collections.abc import Sequence

from harness.model.impairment import Direction, Impairment
from harness.model.needs import Needs, Part
from harness.model.plan import TargetSpec
from harness.scenario.check import Prepared
from harness.scenario.concurrency import peak_calls
from harness.scenario.plans import impairment_of
from harness.scenario.schema import Scenario
from harness.scenario.target.block import Target
from harness.scenario.target.several import shares

_PACKETS_PER_S = 50
_DIRECTIONS: tuple[Direction, ...] = ("outgoing", "incoming")


def needs_of(prepared: Prepared, engines: int = 1) -> Needs:
    """Return the needs of each of `engines` engines that share the run."""
    scenario = prepared.loaded.scenario
    calls = math.ceil(peak_calls(prepared) / engines)
    targets, specs = prepared.named_targets, list(prepared.targets.values())
    total = sum(shares(targets))
    parts = [
        (share / total, held_packets_per_call(scenario, target))
        for share, target in zip(shares(targets), targets.values(), strict=True)
    ]
    first = specs[0]
    return Needs(
        calls=calls,
        is_certain=scenario.load.users is not None,
        transport=first.transport,
        source_ports=first.source_ports,
        audio=_has_audio(first),
        falls_back=bool(first.fallback),
        held_packets=math.ceil(calls * sum(share * held for share, held in parts)),
        parts=() if len(specs) == 1 else _parts(calls, [share for share, _ in parts], specs),
    )


def _parts(calls: int, shares_of: Sequence[float], specs: Sequence[TargetSpec]) -> tuple[Part, ...]:
    return tuple(
        Part(math.ceil(calls * share), spec.transport, spec.source_ports, _has_audio(spec), bool(spec.fallback))
        for share, spec in zip(shares_of, specs, strict=True)
    )


def _has_audio(spec: TargetSpec) -> bool:
    return spec.sip is None or spec.sip.media


def held_packets_per_call(scenario: Scenario, target: Target) -> float:
    """Return how many packets of a call the impairments hold back at once, at most, on average over the callers."""
    total = sum(caller.weight for caller in scenario.callers)
    return sum(
        caller.weight / total * sum(_held(impairment_of(target, caller, direction)) for direction in _DIRECTIONS)
        for caller in scenario.callers
    )


def _held(impairment: Impairment | None) -> float:
    if impairment is None:
        return 0.0
    return impairment.max_delay_ms / 1000 * _PACKETS_PER_S * (1 + impairment.duplicate_ratio)
