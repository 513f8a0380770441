"""Did a process leak? Its growth at matched load, its counts after the load, and whether it lived.

Growth (audit_series.py) is within its bound when the whole 95 % interval of the slope is, beyond it when none of it is,
else undecided. What is left after the load, and who lived: audit_after.py.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.measure.audit_after import alive_rows, rest_rows
from harness.measure.audit_rows import AuditRow, Load
from harness.measure.audit_rules import AuditRules
from harness.measure.audit_series import Series, Watched, series_of
from harness.model.audit_sample import AuditSample, Side
from harness.model.clock import NS_PER_S

_WHOSE = {Side.TARGET: "the target's", Side.OWN: "our own"}


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The whole audit."""

    rules: AuditRules
    rows: list[AuditRow]
    processes: list[Watched]
    # Median of the calls that were up in the samples that the slopes are made of; None = no such sample.
    calls_up: float | None
    # From the end of the load to the sample in which every count was back; None = it never was, or nobody looked.
    at_rest_s: float | None
    # Why a side could not be judged at all; of those that could not.
    missing: dict[Side, str] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        """Return a sentence for each bound that was broken."""
        return [f"leak audit: {row.name}: {row.why}" for row in self.rows if row.is_kept is False]

    @property
    def undecided(self) -> list[str]:
        """Return a sentence for each thing that had to be told and could not."""
        told = [f"{row.name}: {row.why}" for row in self.rows if row.is_kept is None and row.is_needed]
        return [f"leak audit: {one}" for one in (*self.missing.values(), *told)]


def measure(samples: Sequence[AuditSample], rules: AuditRules, load: Load) -> AuditResult:
    """Judge `samples`, in any order."""
    ordered = sorted((s for s in samples if s.side in rules.sides), key=lambda one: one.at_ns)
    series = series_of(ordered, rules, load)
    growth = [row for one in series for row in one.growth()]
    matched = [calls for one in series for calls in one.matched_calls()]
    return AuditResult(
        rules,
        [*growth, *rest_rows(series, rules, load), *alive_rows(series, rules, load)],
        [one.watched() for one in series],
        statistics.median(matched) if matched else None,
        _at_rest_s(ordered, rules, load),
        {side: said for side in rules.sides if (said := _missing(side, ordered) or _unjudged(side, series))},
    )


def _unjudged(side: Side, series: Sequence[Series]) -> str:
    """Say that no process of a side was there throughout, so that nobody's growth could be judged; "" = some were."""
    if any(one.first.side is side and one.lives_through for one in series):
        return ""
    return f"no process of {_WHOSE[side]} was there throughout the load: growth was not measured"


def _missing(side: Side, samples: Sequence[AuditSample]) -> str:
    """Say why nothing is known of a side; "" where something is."""
    of_side = [sample for sample in samples if sample.side is side]
    if any(sample.values for sample in of_side):
        is_over = side is Side.OWN or any(sample.is_after and sample.values for sample in of_side)
        return "" if is_over else "no process of the target's was read after the load: what is left was not measured"
    whys = [sample.why for sample in of_side if sample.why]
    return f"no process of {_WHOSE[side]} was read: {whys[-1] if whys else 'nobody sampled any'}"


def _at_rest_s(samples: Sequence[AuditSample], rules: AuditRules, load: Load) -> float | None:
    """Return how long after the load every count was back; counted from the last sample under it."""
    over_ns = max((s.at_ns for s in samples if not s.is_after), default=None)
    times = sorted({sample.at_ns for sample in samples if sample.is_after})
    if over_ns is None or not any(s.side is Side.TARGET and s.values for s in samples):
        return None
    found = [at for at in times if is_at_rest([s for s in samples if s.at_ns <= at], rules, load)]
    return (found[0] - over_ns) / NS_PER_S if found and found[-1] == times[-1] else None


def is_at_rest(samples: Sequence[AuditSample], rules: AuditRules, load: Load) -> bool:
    """Return whether every count of the target's is back in the last of `samples`, which ascend."""
    rows = rest_rows(series_of(samples, rules, load), rules, load)
    return bool(rows) and all(row.is_kept is not False for row in rows)
