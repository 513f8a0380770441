"""Thresholds: one line of text each, checked before the run and evaluated on its records.

Grammar:
    threshold   = metric [ "{" tag ":" value { "," tag ":" value } "}" ] [ aggregation ] operator number
    aggregation = "min" | "max" | "mean" | "p" number          a percentile, 0 < number < 100: p50, p95, p99.9
    operator    = "<" | "<=" | ">" | ">="
    number      = digits [ "." digits ]                        ms for *_ms, 0..1 for ratios; no unit is written

    ttfb_ms p95 < 800                       wer < 0.15
    ttfb_ms{accent:british} p95 < 800       wer{noise:babble,native:false} < 0.25
    stage_ms{stage:llm} p95 < 1000          response_ratio >= 0.95
    setup_ms p95 < 2000                     drop_off < 0.15
    greeting_ms p95 < 3000                  error_rate < 0.01
    turns_answered >= 12                    false_endpoint_ratio < 0.1
    entity_accuracy >= 0.95                 entity_accuracy{entity:digits,domain:orders} >= 0.98

Durations (`*_ms`) need an aggregation, all other metrics take none. Metrics, their tags and how many samples each needs
are in metrics.py: by default 5 turns, 3 calls, 20 reference words or 10 entities (counts need none); `min_samples` of a
threshold overrides it. Fewer samples give NO DATA, never PASSED. A percentile that rests on unanswered turns is an
interval: it passes or fails when both of its ends agree, and is NO DATA otherwise.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.model.errors import ScenarioError
from harness.verdict.metrics import COUNT, METRICS, OWN_TAGS, TREND, Metric

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_SHAPE = re.compile(
    r"\s*(?P<metric>[^\s{<>=]+)\s*(?:\{(?P<tags>[^}]*)\})?\s*"
    r"(?P<aggregation>[^\s<>={}]+)?\s*(?P<operator>[<>=!]+)\s*(?P<value>\S.*?)\s*$"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")
# No error rate above this is a limit somebody means.
_LARGEST_RATIO = 2.0


class ThresholdVerdict(StrEnum):
    """What a threshold says of a run."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NO_DATA = "NO DATA"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A parsed threshold; `aggregation` is "" for ratios and counts, else "min", "max", "mean" or "p<number>"."""

    expression: str
    metric: Metric
    tags: Mapping[str, str]
    aggregation: str
    operator: str
    limit: float
    min_samples: int

    def holds(self, value: float) -> bool:
        """Return whether `value` meets the limit."""
        return OPERATORS[self.operator](value, self.limit)

    @property
    def quantile(self) -> float | None:
        """Return the percentile's quantile in 0..1, None for any other aggregation."""
        match = _PERCENTILE.fullmatch(self.aggregation)
        return float(match.group(1)) / 100 if match else None


def parse(expression: str, min_samples: int | None = None) -> Threshold:
    """Parse one threshold; raises ScenarioError that quotes the expression, names the place in it and what is legal."""
    match = _SHAPE.match(expression)
    if match is None:
        raise _error(expression, expression, "expected: metric [{tag:value}] [aggregation] operator number")
    metric = METRICS.get(match["metric"])
    if metric is None:
        raise _error(expression, match["metric"], f"unknown metric; legal: {', '.join(METRICS)}")
    if match["operator"] not in OPERATORS:
        raise _error(expression, match["operator"], f"unknown operator; legal: {', '.join(OPERATORS)}")
    if min_samples is not None and min_samples < 0:
        raise _error(expression, f"min_samples: {min_samples}", "must be 0 or more")
    return Threshold(
        expression=expression.strip(),
        metric=metric,
        tags=_tags(expression, metric, match["tags"]),
        aggregation=_aggregation(expression, metric, match["aggregation"] or ""),
        operator=match["operator"],
        limit=_limit(expression, metric, match["value"]),
        min_samples=metric.min_samples if min_samples is None else min_samples,
    )


def parse_entry(entry: Any) -> Threshold:
    """Parse a scenario's entry: a string, or a mapping with `expr` and optionally `min_samples`."""
    if isinstance(entry, str):
        return parse(entry)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("expr"), str):
        raise ScenarioError(f"threshold {entry!r}: expected a string, or a mapping with 'expr' and 'min_samples'")
    unknown = set(entry) - {"expr", "min_samples"}
    if unknown:
        raise ScenarioError(f"threshold {entry['expr']!r}: unknown key {min(unknown)!r}; legal: expr, min_samples")
    samples = entry.get("min_samples")
    if samples is not None and (not isinstance(samples, int) or isinstance(samples, bool)):
        raise ScenarioError(f"threshold {entry['expr']!r}: min_samples must be a whole number, got {samples!r}")
    return parse(entry["expr"], samples)


def _error(expression: str, part: str, message: str) -> ScenarioError:
    where = expression.find(part) + 1
    return ScenarioError(f"threshold {expression!r}, at {part!r} (character {where}): {message}")


def _tags(expression: str, metric: Metric, text: str | None) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in text.split(",") if text is not None else ():
        key, colon, value = (part.strip() for part in pair.partition(":"))
        if not colon or not key or not value:
            raise _error(expression, pair, "a tag filter is written {tag:value}")
        # A turn's own tags (fault windows, load levels) are named by whoever writes them.
        if key not in metric.tags and not (metric.scope == "turn" and key.startswith("tag_")):
            raise _error(expression, key, f"unknown tag of {metric.name}; legal: {', '.join(metric.tags)}")
        if key in tags:
            raise _error(expression, key, "the tag stands twice")
        tags[key] = value
    for key, legal in OWN_TAGS.get(metric.name, {}).items():
        if key in tags and tags[key] not in legal:
            raise _error(expression, tags[key], f"{metric.name} has {{{key}:...}}, one of: {', '.join(legal)}")
    if metric.name == "stage_ms" and "stage" not in tags:
        legal = OWN_TAGS[metric.name]["stage"]
        raise _error(expression, "stage_ms", f"stage_ms needs {{stage:...}}, one of: {', '.join(legal)}")
    return tags


def _aggregation(expression: str, metric: Metric, text: str) -> str:
    if metric.kind != TREND:
        if text:
            raise _error(expression, text, f"{metric.name} is a {metric.kind} and takes no aggregation")
        return ""
    legal = "legal: min, max, mean, p50, p95, p99 or any other p between 0 and 100"
    if not text:
        raise _error(expression, metric.name, f"{metric.name} needs an aggregation; {legal}")
    match = _PERCENTILE.fullmatch(text)
    if text not in {"min", "max", "mean"} and not (match and 0 < float(match.group(1)) < 100):
        raise _error(expression, text, f"unknown aggregation; {legal}")
    return text


def _limit(expression: str, metric: Metric, text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        unit = {"ms": "in milliseconds", "ratio": "a ratio 0..1 (10 % is 0.10)", "count": "a count"}[metric.unit]
        raise _error(expression, text, f"expected a plain number: {metric.name} is {unit}")
    value = float(text)
    if not math.isfinite(value):
        raise _error(expression, text, "expected a number that is not beyond all measure")
    if metric.unit == "ratio" and value > (metric.maximum or _LARGEST_RATIO):
        span = "0..1" if metric.maximum else "0..n, where 1 is as many errors as words"
        raise _error(expression, text, f"{metric.name} is a ratio {span}, did you mean {value / 100:.2f}?")
    is_whole_duration = metric.kind == TREND and metric.name != "stage_ms"
    if is_whole_duration and 0 < value < 10 and "." in text:
        raise _error(expression, text, f"{metric.name} is in milliseconds, did you mean {value * 1000:g}?")
    if metric.kind == COUNT and value != int(value):
        raise _error(expression, text, f"{metric.name} is a count: expected a whole number")
    return value
