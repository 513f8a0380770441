"""What is measured, as text: `metric {tag:value} aggregation`, the part of a threshold before its comparison."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.measure.distribution import Estimate, Sample
from harness.model.errors import ScenarioError
from harness.verdict.metrics import METRICS, OWN_TAGS, TREND, TURN, Metric

SHAPE = r"\s*(?P<metric>[^\s{<>=]+)\s*(?:\{(?P<tags>[^}]*)\})?\s*(?P<aggregation>[^\s<>={}]+)?\s*"
_ALONE = re.compile(SHAPE + "$")
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured: `aggregation` is "" for ratios and counts, else "min", "max", "mean" or "p<number>"."""

    metric: Metric
    tags: Mapping[str, str]
    aggregation: str

    @property
    def quantile(self) -> float | None:
        """The percentile's quantile in 0..1, None for any other aggregation."""
        match = _PERCENTILE.fullmatch(self.aggregation)
        return float(match.group(1)) / 100 if match else None

    @property
    def words(self) -> str:
        """As it is written."""
        tags = ",".join(f"{key}:{value}" for key, value in self.tags.items())
        return " ".join(filter(None, (self.metric.name + (f"{{{tags}}}" if tags else ""), self.aggregation)))

    def aggregate(self, sample: Sample) -> Estimate | None:
        """Return the figure of a sample of durations."""
        quantile = self.quantile
        if quantile is not None:
            return sample.percentile(quantile)
        figures: Mapping[str, Callable[[], Estimate | None]] = {
            "min": sample.minimum,
            "max": sample.maximum,
            "mean": sample.mean,
        }
        return figures[self.aggregation]()


def problem(expression: str, part: str, message: str) -> ScenarioError:
    """Return the error of a threshold, or of a part of one, that names the place in it."""
    where = expression.find(part) + 1
    return ScenarioError(f"threshold {expression!r}, at {part!r} (character {where}): {message}")


def parse_measure(expression: str) -> Measure:
    """Parse a measure on its own, like "ttfb_ms{accent:british} p95"; raises ScenarioError."""
    match = _ALONE.match(expression)
    if match is None:
        raise problem(expression, expression, "expected: metric [{tag:value}] [aggregation], and no comparison")
    return read(expression, match)


def read(expression: str, match: re.Match[str]) -> Measure:
    """Return the measure of a match of SHAPE within `expression`; raises ScenarioError."""
    metric = METRICS.get(match["metric"])
    if metric is None:
        raise problem(expression, match["metric"], f"unknown metric; legal: {', '.join(METRICS)}")
    tags = _tags(expression, metric, match["tags"])
    return Measure(metric, tags, _aggregation(expression, metric, match["aggregation"] or ""))


def check_tag(expression: str, metric: Metric, key: str) -> None:
    """Raise ScenarioError where no record of `metric` can have the tag."""
    # A turn's own tags (of the corpus's manifest) are named by whoever writes them.
    if key not in metric.tags and not (metric.scope == TURN and key.startswith("tag_")):
        raise problem(expression, key, f"unknown tag of {metric.name}; legal: {', '.join(metric.tags)}")


def _tags(expression: str, metric: Metric, text: str | None) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in text.split(",") if text is not None else ():
        key, colon, value = (part.strip() for part in pair.partition(":"))
        if not colon or not key or not value:
            raise problem(expression, pair, "a tag filter is written {tag:value}")
        check_tag(expression, metric, key)
        if key in tags:
            raise problem(expression, key, "the tag stands twice")
        tags[key] = value
    for key, legal in OWN_TAGS.get(metric.name, {}).items():
        if key in tags and tags[key] not in legal:
            raise problem(expression, tags[key], f"{metric.name} has {{{key}:...}}, one of: {', '.join(legal)}")
    if metric.name == "stage_ms" and "stage" not in tags:
        legal = OWN_TAGS[metric.name]["stage"]
        raise problem(expression, "stage_ms", f"stage_ms needs {{stage:...}}, one of: {', '.join(legal)}")
    return tags


def _aggregation(expression: str, metric: Metric, text: str) -> str:
    if metric.kind != TREND:
        if text:
            raise problem(expression, text, f"{metric.name} is a {metric.kind} and takes no aggregation")
        return ""
    legal = "legal: min, max, mean, p50, p95, p99 or any other p between 0 and 100"
    if not text:
        raise problem(expression, metric.name, f"{metric.name} needs an aggregation; {legal}")
    match = _PERCENTILE.fullmatch(text)
    if text not in {"min", "max", "mean"} and not (match and 0 < float(match.group(1)) < 100):
        raise problem(expression, text, f"unknown aggregation; {legal}")
    return text
