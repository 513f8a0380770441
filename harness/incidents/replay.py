"""An incident as a scenario: its calls faster or more of them, its faults at the same places among them. Pure."""

import copy
import math
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.incidents.incident import Incident
from harness.model.errors import ScenarioError

# A scenario file has at most 100,000 values, all its others among them.
_MOST_CALLS = 95_000
_GOLDEN = 0.6180339887498949
# Keys of a fault that are times of the incident, in seconds.
_FAULT_TIMES = ("start_s", "duration_s")
# Keys of a scenario that name files beside it.
_FILES = ("corpus", "runbook")


def scenario_of(incident: Incident, speed: float = 1.0, scale: float = 1.0) -> dict[str, Any]:
    """Return the scenario that replays `incident`; files are named by their whole paths.

    Raises ScenarioError where `speed` or `scale` cannot be.
    """
    for name, value, most in (("--speed", speed, 1_000.0), ("--scale", scale, 1_000.0)):
        if not (math.isfinite(value) and 0 < value <= most):
            raise ScenarioError(f"{name}: got {value:g}; legal: a number above 0, at most {most:g}")
    scenario = copy.deepcopy(dict(incident.scenario))
    scenario.setdefault("name", incident.path.stem)
    scenario.setdefault("description", incident.about.title)
    seed = scenario.get("seed", 1)
    scenario["load"] = {"arrivals": _arrivals(incident, speed, scale, seed if isinstance(seed, int) else 1)}
    scenario["faults"] = [_faster(fault, speed) for fault in scenario.get("faults") or []]
    for key in _FILES:
        if isinstance(scenario.get(key), str):
            scenario[key] = str((incident.path.parent / Path(scenario[key])).resolve())
    return scenario


def replayed(text: str, speed: float) -> str:
    """Return an incident's YAML as of its replay: what people noted stands at the same places among the calls."""
    document = yaml.safe_load(text)
    timeline = document["incident"].get("timeline") or []
    if speed == 1 or not timeline:
        return text
    for moment in timeline:
        moment["at_s"] = moment["at_s"] / speed
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _arrivals(incident: Incident, speed: float, scale: float, seed: int) -> dict[str, Any]:
    if incident.at_s is not None:
        times = scaled(incident.at_s, scale, seed)
        if len(times) > _MOST_CALLS:
            legal = f"at most {_MOST_CALLS:,} in one replay, by a smaller --scale or a part of the file"
            raise ScenarioError(f"{incident.path}: arrivals: {len(times):,} calls; legal: {legal}")
        return {"at_s": [round(at / speed, 4) for at in times]}
    stages = []
    for stage in incident.stages or []:
        length, rate = stage.get("duration_s"), stage.get("rate_per_minute")
        faster = dict(stage)
        if isinstance(length, int | float):
            faster["duration_s"] = length / speed
        if rate is not None:
            faster["rate_per_minute"] = _times(rate, scale * speed)
        stages.append(faster)
    return {"distribution": incident.distribution, "stages": stages}


def _times(rate: Any, factor: float) -> Any:
    if isinstance(rate, Mapping):
        return {key: _times(value, factor) for key, value in rate.items()}
    return rate * factor if isinstance(rate, int | float) and not isinstance(rate, bool) else rate


def _faster(fault: Any, speed: float) -> Any:
    if not isinstance(fault, Mapping):
        return fault
    return {
        key: value / speed if key in _FAULT_TIMES and isinstance(value, int | float) else value
        for key, value in fault.items()
    }


def scaled(times: Sequence[float], scale: float, seed: int) -> list[float]:
    """Return `times` with `scale` times as many calls, as near to the same rates as can be; 0 is the first of `times`.

    Fewer: every call is kept or left out along a golden-ratio sequence, so that no stretch loses more than its share.
    More: each further call is put somewhere between its original and the next one.
    """
    first = times[0]
    shifted = [at - first for at in times]
    if scale == 1:
        return shifted
    rng = random.Random(f"{seed}/scale")
    found: list[float] = []
    for i, at in enumerate(shifted):
        copies = math.floor(scale) + (((i + 0.5) * _GOLDEN) % 1.0 < scale - math.floor(scale))
        later = shifted[bisect_right(shifted, at)] if at < shifted[-1] else at
        found += [at] * min(1, copies) + [rng.uniform(at, later) for _ in range(copies - 1)]
    if not found:
        raise ScenarioError(f"--scale: {scale:g} leaves none of {len(times)} calls; legal: a larger one")
    return sorted(found)
