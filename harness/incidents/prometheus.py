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

from harness.incidents.calls_file import Columns, ImportedCalls
from harness.model.errors import ScenarioError
from harness.scenario.arrivals import Stage, due_times_ms

UNITS = ("per_second", "per_minute", "counter")
_MOST_CALLS = 1_000_000


def is_range(text: str) -> bool:
    """Return whether a text looks like a range query's answer."""
    return text.lstrip().startswith("{") and '"result"' in text and '"values"' in text


def read_range(path: Path, unit: str, seed: int) -> ImportedCalls:
    """Read the answer; several series are added up. Raises ScenarioError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        result = raw["data"]["result"] if "data" in raw else raw["result"]
        series = [[(float(at), float(value)) for at, value in one["values"]] for one in result]
    except (OSError, ValueError, KeyError, TypeError) as error:
        legal = 'the JSON of /api/v1/query_range: {"data": {"resultType": "matrix", "result": [{"values": [...]}]}}'
        raise ScenarioError(f"{path}: no range of a query ({error!r}); legal: {legal}") from None
    rates = _added(path, [_rates(one, unit) for one in series if len(one) > 1])
    stages = [Stage(end - start, rate * 60, rate * 60) for (start, rate), (end, _) in pairwise(rates)]
    due = due_times_ms(stages, "poisson", seed, _MOST_CALLS)
    if not due:
        raise ScenarioError(f"{path}: no call within the range; is --rate {unit} what its values are?")
    first = due[0]
    began = datetime.fromtimestamp(rates[0][0] + first / 1000, UTC)
    at_s = [round((at - first) / 1000, 3) for at in due]
    return ImportedCalls(at_s, began, [], Counter(), Counter(), Columns(time="values"), sum(map(len, series)))


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
