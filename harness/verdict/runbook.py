"""The runbook against a measured run: its triggers over the whole of it, and its latency budget."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.measure.distribution import Estimate
from harness.measure.run import Measured
from harness.measure.target_series import series_of
from harness.verdict.readings import figure_of, is_measured, readings_of
from harness.verdict.rules import BandSet, Rule

FIRED = "fired"
QUIET = "quiet"
UNDECIDED = "undecided"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class BudgetPart:
    """A share of the total P95, ms; `stage` None when no turn tells of it."""

    title: str
    p95_ms: float
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Runbook:
    """Triggers, bands and stages, and how the total P95 is shared out."""

    triggers: tuple[Rule, ...]
    bands: tuple[BandSet, ...]
    stages: tuple[Rule, ...]
    total_p95_ms: float
    parts: tuple[BudgetPart, ...]

    @property
    def rules(self) -> list[Rule]:
        """Everything that alerts."""
        return [*self.triggers, *(rule for one in self.bands for rule in one.rules), *self.stages]


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """state: "fired", "quiet", "undecided" (a lower bound below the limit) or "not measured"; of the whole run."""

    trigger: Rule
    value: float | None
    is_lower_bound: bool
    state: str


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """A part's measured P95 beside its share; `is_over` None when it was not measured."""

    part: BudgetPart
    p95_ms: float | None
    is_over: bool | None


def evaluate_triggers(
    book: Runbook, run: Measured, target_info: Mapping[str, Any] | None = None
) -> list[TriggerResult]:
    """Return each trigger's state over the whole run, whatever it says of stretches of it.

    `target_info` is the target's own account (healthz), which may know its limits; `run` may know them already.
    """
    if target_info and not run.target_series:
        run = replace(run, target_series=series_of((), run.health.timeline, target_info))
    return [_trigger(trigger, _whole(trigger, run)) for trigger in book.triggers]


def evaluate_budget(book: Runbook, run: Measured) -> list[BudgetResult]:
    """Return each part of the budget with its measured P95."""
    rows: list[BudgetResult] = []
    for part in book.parts:
        stage = run.stages.stages.get(part.stage) if part.stage else None
        rows.append(BudgetResult(part, stage.p95 if stage else None, stage.p95 > part.p95_ms if stage else None))
    return rows


def _whole(trigger: Rule, run: Measured) -> Estimate | None:
    metric = trigger.when.metric
    if not is_measured(metric, run):
        return None
    readings = [reading for reading, _ in readings_of(metric, run, trigger.when.tags)]
    return figure_of(metric, trigger.when.measure.aggregate)(readings)[0]


def _trigger(trigger: Rule, estimate: Estimate | None) -> TriggerResult:
    if estimate is None:
        return TriggerResult(trigger, None, False, NOT_MEASURED)
    decided = trigger.when.decides(estimate)
    state = UNDECIDED if decided is None else FIRED if decided else QUIET
    return TriggerResult(trigger, estimate.value, estimate.is_lower_bound, state)
