"""What a leak audit is held to: the `audit` block of a scenario as a run wrote it down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.model.audit_sample import CALLS, DESCRIPTORS, RSS_MIB, TASKS, THREADS, Side

# Bounds where the scenario says nothing; None = told, and not judged. Calls of one kind hold more descriptors and tasks
# than those of another, so at equal load their mix moves these by tens: in half an hour the interval tells that apart.
GROWTH_PER_HOUR: Mapping[str, float | None] = {RSS_MIB: 30.0, DESCRIPTORS: 60.0, THREADS: 10.0, TASKS: 60.0}
LEFT_AFTER: Mapping[str, float | None] = {RSS_MIB: None, DESCRIPTORS: 8.0, THREADS: 8.0, TASKS: 4.0, CALLS: 0.0}


@dataclass(frozen=True, slots=True)
class AuditRules:
    """How the audit samples and judges; shares are of 1."""

    sides: tuple[Side, ...] = (Side.TARGET, Side.OWN)
    every_s: float = 5.0
    # Of the load's time, and of each process's own within it, that is left out of its slope.
    warm_up: float = 0.2
    # Stretches the rest is cut into; the slope is that of their medians, and needs at least `min_windows`.
    windows: int = 30
    min_windows: int = 10
    # Samples count while as many calls are up as in the median sample, more or less by this share.
    load_band: float = 0.1
    # Longest wait for the counts to be back.
    drain_s: float = 60.0
    growth_per_hour: Mapping[str, float | None] = field(default_factory=lambda: GROWTH_PER_HOUR)
    left_after: Mapping[str, float | None] = field(default_factory=lambda: LEFT_AFTER)


def rules_of(said: Mapping[str, Any]) -> AuditRules:
    """Return the rules of a checked block; what it leaves out takes its default. Raises ValueError, TypeError."""
    plain = {name: said[name] for name in ("every_s", "warm_up", "windows", "load_band", "drain_s") if name in said}
    sides = tuple(map(Side, said.get("of") or AuditRules().sides))
    return AuditRules(
        sides=sides,
        growth_per_hour=_bounds(GROWTH_PER_HOUR, said.get("growth_per_hour")),
        left_after=_bounds(LEFT_AFTER, said.get("left_after")),
        **plain,
    )


def _bounds(standard: Mapping[str, float | None], said: Any) -> Mapping[str, float | None]:
    given = said if isinstance(said, Mapping) else {}
    return {name: given.get(name, bound) for name, bound in standard.items()}
