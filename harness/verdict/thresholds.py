"""Thresholds: one line of text each, checked before the run and evaluated on its records.

Grammar:
    threshold   = measure operator number { clause }
    measure     = metric [ "{" tag ":" value { "," tag ":" value } "}" ] [ aggregation ]
    aggregation = "min" | "max" | "mean" | "p" number          a percentile, 0 < number < 100: p50, p95, p99.9
    operator    = "<" | "<=" | ">" | ">="
    number      = digits [ "." digits ]                        ms for *_ms, 0..1 for ratios; no unit is written
    clause      = for how long, over what, when, by what: clauses.py

    ttfb_ms p95 < 800                       wer < 0.15
    ttfb_ms{accent:british} p95 < 800       wer{noise:babble,native:false} < 0.25
    stage_ms{stage:llm} p95 < 1000          response_ratio >= 0.95
    setup_ms p95 < 2000                     drop_off < 0.15
    greeting_ms p95 < 3000                  error_rate < 0.01
    turns_answered >= 12                    false_endpoint_ratio < 0.1
    entity_accuracy >= 0.95                 entity_accuracy{entity:digits,domain:orders} >= 0.98
    ttfb_ms p95 < 400 sustained 60s during fault:tts
    wer < 0.2 by accent                     error_rate < 0.01 over 30s after fault:tts

Durations (`*_ms`) need an aggregation, all other metrics take none. Metrics, their tags and how many samples each needs
are in metrics.py: by default 5 turns, 3 calls, 20 reference words or 10 entities (counts need none); `min_samples` of a
threshold overrides it. Fewer samples give NO DATA, never PASSED. A percentile that rests on unanswered turns is an
interval: it passes or fails when both of its ends agree, and is NO DATA otherwise.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.measure.distribution import Estimate
from harness.model.errors import ScenarioError
from harness.verdict.clauses import ClauseError, Clauses, parse_clauses
from harness.verdict.measures import SHAPE, Measure, check_tag, problem, read
from harness.verdict.metrics import COUNT, TREND, Metric

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_WHOLE = re.compile(SHAPE + r"(?P<operator>[<>=!]+)\s*(?P<value>\S+)\s*(?P<clauses>.*?)\s*$")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# No error rate above this is a limit somebody means.
_LARGEST_RATIO = 2.0
_NO_CLAUSES = Clauses()
# Names of the run's faults and phases, by kind.
Windows = Mapping[str, Sequence[str]]


class ThresholdVerdict(StrEnum):
    """What a threshold says of a run."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NO_DATA = "NO DATA"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A parsed threshold."""

    expression: str
    measure: Measure
    operator: str
    limit: float
    min_samples: int
    clauses: Clauses = _NO_CLAUSES

    @property
    def metric(self) -> Metric:
        """What is measured."""
        return self.measure.metric

    @property
    def tags(self) -> Mapping[str, str]:
        """Whose records are."""
        return self.measure.tags

    @property
    def aggregation(self) -> str:
        """How they become one figure; "" for ratios and counts."""
        return self.measure.aggregation

    @property
    def is_ceiling(self) -> bool:
        """Whether larger values are worse."""
        return self.operator in {"<", "<="}

    def holds(self, value: float) -> bool:
        """Return whether `value` meets the limit."""
        return OPERATORS[self.operator](value, self.limit)

    def decides(self, estimate: Estimate) -> bool | None:
        """Return whether the limit is met; None where unanswered turns leave that open."""
        upper = math.inf if estimate.upper is None else estimate.upper
        at_least, at_most = self.holds(estimate.value), self.holds(upper)
        return at_least if at_least is at_most else None


def parse(expression: str, min_samples: int | None = None, windows: Windows | None = None) -> Threshold:
    """Parse one threshold; raises ScenarioError that quotes the expression, names the place in it and what is legal.

    `windows` are the names of the run's faults and phases; None = not known, any name will do.
    """
    match = _WHOLE.match(expression)
    if match is None:
        raise problem(expression, expression, "expected: metric [{tag:value}] [aggregation] operator number")
    measure = read(expression, match)
    if match["operator"] not in OPERATORS:
        raise problem(expression, match["operator"], f"unknown operator; legal: {', '.join(OPERATORS)}")
    if min_samples is not None and min_samples < 0:
        raise problem(expression, f"min_samples: {min_samples}", "must be 0 or more")
    return Threshold(
        expression=expression.strip(),
        measure=measure,
        operator=match["operator"],
        limit=_limit(expression, measure.metric, match["value"]),
        min_samples=measure.metric.min_samples if min_samples is None else min_samples,
        clauses=_clauses(expression, measure, match["clauses"], windows),
    )


def parse_entry(entry: Any, windows: Windows | None = None) -> Threshold:
    """Parse a scenario's entry: a string, or a mapping with `expr` and optionally `min_samples`."""
    if isinstance(entry, str):
        return parse(entry, windows=windows)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("expr"), str):
        raise ScenarioError(f"threshold {entry!r}: expected a string, or a mapping with 'expr' and 'min_samples'")
    unknown = set(entry) - {"expr", "min_samples"}
    if unknown:
        raise ScenarioError(f"threshold {entry['expr']!r}: unknown key {min(unknown)!r}; legal: expr, min_samples")
    samples = entry.get("min_samples")
    if samples is not None and (not isinstance(samples, int) or isinstance(samples, bool)):
        raise ScenarioError(f"threshold {entry['expr']!r}: min_samples must be a whole number, got {samples!r}")
    return parse(entry["expr"], samples, windows)


def _clauses(expression: str, measure: Measure, text: str, windows: Windows | None) -> Clauses:
    metric = measure.metric
    try:
        clauses = parse_clauses(text, windows)
    except ClauseError as error:
        raise problem(expression, error.part, str(error)) from None
    if clauses.by:
        check_tag(expression, metric, clauses.by)
        if clauses.by in measure.tags:
            raise problem(expression, f"by {clauses.by}", "the threshold is about one value of that tag already")
    if clauses.window_ms is not None and not metric.is_windowed:
        part = "over" if clauses.sustained_ms is None else "sustained"
        raise problem(expression, part, f"{metric.name} counts over the whole run and takes neither sustained nor over")
    return clauses


def _limit(expression: str, metric: Metric, text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        unit = {"ms": "in milliseconds", "ratio": "a ratio 0..1 (10 % is 0.10)", "count": "a count"}[metric.unit]
        raise problem(expression, text, f"expected a plain number: {metric.name} is {unit}")
    value = float(text)
    if not math.isfinite(value):
        raise problem(expression, text, "expected a number that is not beyond all measure")
    if metric.unit == "ratio" and value > (metric.maximum or _LARGEST_RATIO):
        span = "0..1" if metric.maximum else "0..n, where 1 is as many errors as words"
        raise problem(expression, text, f"{metric.name} is a ratio {span}, did you mean {value / 100:.2f}?")
    is_whole_duration = metric.kind == TREND and metric.name != "stage_ms"
    if is_whole_duration and 0 < value < 10 and "." in text:
        raise problem(expression, text, f"{metric.name} is in milliseconds, did you mean {value * 1000:g}?")
    if metric.kind == COUNT and value != int(value):
        raise problem(expression, text, f"{metric.name} is a count: expected a whole number")
    return value
