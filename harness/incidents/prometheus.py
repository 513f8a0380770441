"""A Prometheus range query's JSON (`/api/v1/query_range`) of how many calls came, to when they came.

Values are calls a second (`rate(...)`), calls a minute, or a counter that only grows. Between two samples the rate is
taken to be that of the first; within it calls come by chance (a Poisson process), from the seed.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.incidents.calls_file import LONGEST_S, Columns, ImportedCalls
from harness.incidents.rows import read_text
from harness.model.errors import ScenarioError
from harness.scenario.arrivals import Stage, due_times_ms

UNITS = ("per_second", "per_minute", "counter")
_MOST_CALLS = 1_000_000


def is_answer(text: str) -> bool:
    """Return whether a text is what Prometheus answers, a range or not, and no call in JSON."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        raw = json.loads(text)
    except ValueError:
        return False
    data = raw.get("data", raw)
    return "errorType" in raw or (isinstance(data, dict) and isinstance(data.get("result"), list))


def read_range(path: Path, unit: str, seed: int) -> ImportedCalls:
    """Read the answer; several series are added up. Raises ScenarioError."""
    series = _series(path, json.loads(read_text(path)))
    rates = _added(path, [_rates(one, unit) for one in series if len(one) > 1])
    _check(path, rates, unit)
    stages = [Stage(end - start, rate * 60, rate * 60) for (start, rate), (end, _) in pairwise(rates)]
    due = due_times_ms(stages, "poisson", seed, _MOST_CALLS)
    if not due:
        raise ScenarioError(f"{path}: no call within the range; is --rate {unit} what its values are?")
    first = due[0]
    began = datetime.fromtimestamp(rates[0][0] + first / 1000, UTC)
    at_s = [round((at - first) / 1000, 3) for at in due]
    return ImportedCalls(at_s, began, [], Counter(), Counter(), Columns(time="values"), sum(map(len, series)))


def _series(path: Path, raw: Any) -> list[list[tuple[float, float]]]:
    if "errorType" in raw:
        raise ScenarioError(f"{path}: Prometheus answered with an error: {raw['errorType']}: {raw.get('error', '')}")
    data = raw.get("data", raw)
    if (found := data.get("resultType", "matrix")) != "matrix":
        raise ScenarioError(f"{path}: data.resultType: got {found!r}; legal: matrix, the answer of /api/v1/query_range")
    if not data["result"]:
        raise ScenarioError(f"{path}: data.result: the query found no series; legal: one or more")
    return [_samples(path, i, one) for i, one in enumerate(data["result"])]


def _samples(path: Path, index: int, one: Any) -> list[tuple[float, float]]:
    place = f"{path}: data.result[{index}].values"
    values = one.get("values") if isinstance(one, dict) else None
    if not isinstance(values, list):
        raise ScenarioError(f"{place}: missing; legal: a list of [instant, value], as /api/v1/query_range answers")
    found = []
    for i, sample in enumerate(values):
        try:
            at, value = map(float, sample)
        except (ValueError, TypeError):
            raise ScenarioError(f"{place}[{i}]: got {sample!r}; legal: [instant, value]") from None
        # NaN is Prometheus' word for nothing.
        if math.isinf(value) or not math.isfinite(at):
            raise ScenarioError(f"{place}[{i}]: got {sample!r}; legal: finite numbers, or NaN for no calls")
        found.append((at, value))
    return found


def _check(path: Path, rates: Sequence[tuple[float, float]], unit: str) -> None:
    """Raise ScenarioError where the range is too long, or has more calls than a replay could be of."""
    length_s = rates[-1][0] - rates[0][0]
    if length_s > LONGEST_S:
        raise ScenarioError(f"{path}: a range of {length_s / 3600:.0f} hours; legal: a day at most")
    n = sum(rate * (end - start) for (start, rate), (end, _) in pairwise(rates))
    if n > _MOST_CALLS:
        raise ScenarioError(f"{path}: {n:.3g} calls; legal: {_MOST_CALLS:,} at most; is --rate {unit} what they are?")


def _rates(samples: Sequence[tuple[float, float]], unit: str) -> list[tuple[float, float]]:
    """Return (instant, calls a second from then on)."""
    ordered = sorted((at, 0.0 if math.isnan(value) else value) for at, value in samples)
    if unit != "counter":
        scale = 60.0 if unit == "per_minute" else 1.0
        return [(at, max(0.0, value) / scale) for at, value in ordered]
    found = []
    for (at, value), (later, grown) in pairwise(ordered):
        # A counter that fell began anew.
        step = grown - value if grown >= value else grown
        found.append((at, step / (later - at) if later > at else 0.0))
    return [*found, (ordered[-1][0], 0.0)]


def _added(path: Path, series: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    if not series:
        raise ScenarioError(f"{path}: no series with two samples or more")
    total: dict[float, float] = {}
    for one in series:
        for at, rate in one:
            total[at] = total.get(at, 0.0) + rate
    return sorted(total.items())
