"""The runbook's scaling triggers and latency budget against a measured run. The numbers are in runbook.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from harness.measure.distribution import Estimate
from harness.measure.run import Measured

FIRED = "fired"
QUIET = "quiet"
UNDECIDED = "undecided"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Trigger:
    """Above `above`, do `action`. `unit`: "ms", "ratio" or "count"."""

    name: str
    title: str
    measure: str
    above: float
    unit: str
    action: str


@dataclass(frozen=True, slots=True)
class BudgetPart:
    """A share of the total P95, ms; `stage` None when no turn tells of it."""

    title: str
    p95_ms: float
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Runbook:
    """Triggers, and how the total P95 is shared out."""

    triggers: tuple[Trigger, ...]
    total_p95_ms: float
    parts: tuple[BudgetPart, ...]


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """state: "fired", "quiet", "undecided" (a lower bound below the limit) or "not measured"."""

    trigger: Trigger
    value: float | None
    is_lower_bound: bool
    state: str


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """A part's measured P95 beside its share; `is_over` None when it was not measured."""

    part: BudgetPart
    p95_ms: float | None
    is_over: bool | None


def parse(text: str) -> Runbook:
    """Read runbook.yaml's text."""
    raw = yaml.safe_load(text)
    budget = raw["budget"]
    return Runbook(
        triggers=tuple(Trigger(**entry) for entry in raw["triggers"]),
        total_p95_ms=float(budget["total_p95_ms"]),
        parts=tuple(BudgetPart(**part) for part in budget["parts"]),
    )


def evaluate_triggers(book: Runbook, run: Measured, target_info: Mapping[str, Any] | None) -> list[TriggerResult]:
    """Return each trigger's state; `target_info` is the target's own account (healthz), which may know its limits."""
    measures = _measures(run, target_info or {})
    return [_trigger(trigger, measures.get(trigger.measure)) for trigger in book.triggers]


def evaluate_budget(book: Runbook, run: Measured) -> list[BudgetResult]:
    """Return each part of the budget with its measured P95."""
    rows: list[BudgetResult] = []
    for part in book.parts:
        stage = run.stages.stages.get(part.stage) if part.stage else None
        rows.append(BudgetResult(part, stage.p95 if stage else None, stage.p95 > part.p95_ms if stage else None))
    return rows


def _measures(run: Measured, target_info: Mapping[str, Any]) -> dict[str, Estimate | None]:
    return {
        "ttfb_p95_ms": run.ttfb.percentiles["p95"],
        "error_rate": _exact(run.error_rate),
        "drop_off": _exact(run.drop_off.ratio),
        "connection_ratio": _exact(_connection_ratio(run, target_info)),
    }


def _connection_ratio(run: Measured, target_info: Mapping[str, Any]) -> float | None:
    limit = target_info.get("max_calls")
    if not isinstance(limit, int | float) or limit <= 0 or not run.health.n_samples:
        return None
    return run.health.peak_calls / limit


def _exact(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, value)


def _trigger(trigger: Trigger, estimate: Estimate | None) -> TriggerResult:
    if estimate is None:
        return TriggerResult(trigger, None, False, NOT_MEASURED)
    if estimate.value > trigger.above:
        state = FIRED
    elif estimate.is_lower_bound and (estimate.upper is None or estimate.upper > trigger.above):
        state = UNDECIDED
    else:
        state = QUIET
    return TriggerResult(trigger, estimate.value, estimate.is_lower_bound, state)
