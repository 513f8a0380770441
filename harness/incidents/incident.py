"""An incident file: when calls came, who called, what broke, and what is known of it. YAML.

    incident:                       what people know; all of it optional but the title
      title: TTS queue saturated on Monday morning
      severity: P1
      started_at: 2026-03-02T09:00:00+00:00
      links: [https://status.example/41]
      root_cause: "..."
      timeline: [{at_s: 120, what: On-call acknowledged}]
      actions: [{kind: short-term, what: Add TTS replicas}]
    arrivals:                       exactly one of
      at_s: [0.0, 1.2, ...]         when each call came, in seconds
      file: calls.csv               the same, one time a line (seconds), relative to this file
      stages: [...]                 or a scenario's load.arrivals
    scenario: {...}                 the rest of a scenario file: target, callers, faults, thresholds, runbook ...

`replay` makes a scenario of it: times divided by `speed` (faults' too), calls multiplied by `scale`.
"""

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.model.errors import ScenarioError
from harness.scenario import yaml_lines
from harness.scenario.loader import worded


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Moment(_Strict):
    """Something people did or saw, seconds after the first call."""

    at_s: float
    what: str = Field(min_length=1)


class Action(_Strict):
    """What is to be done about it."""

    kind: Literal["short-term", "long-term", "monitoring"] = "short-term"
    what: str = Field(min_length=1)
    done: bool = False


class About(_Strict):
    """What people know of the incident."""

    title: str = Field(min_length=1)
    severity: Literal["P1", "P2", "P3"] | None = None
    description: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    links: list[str] = Field(default_factory=list)
    root_cause: str = ""
    timeline: list[Moment] = Field(default_factory=list)
    actions: list[Action] = Field(default_factory=list)
    # How it was made, where it was imported.
    source: str = ""
    notes: list[str] = Field(default_factory=list)


class Arrivals(_Strict):
    """When calls came."""

    at_s: list[float] | None = None
    file: str | None = None
    stages: list[dict[str, Any]] | None = None
    distribution: Literal["poisson", "uniform"] = "poisson"


class IncidentFile(_Strict):
    """The whole file."""

    incident: About
    arrivals: Arrivals
    scenario: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Incident:
    """A file that was read; `at_s` rises, and is None where stages say how calls came."""

    path: Path
    about: About
    at_s: list[float] | None
    stages: list[dict[str, Any]] | None
    distribution: str
    scenario: Mapping[str, Any]


def load_incident(path: Path) -> Incident:
    """Read an incident; raises ScenarioError naming file, place and what is legal."""
    file = _read(path)
    if "load" in file.scenario:
        raise ScenarioError(f"{path}: scenario.load: `arrivals` of the incident says when calls came; legal: leave it")
    return Incident(
        path=path,
        about=file.incident,
        at_s=_times(path, file.arrivals),
        stages=file.arrivals.stages,
        distribution=file.arrivals.distribution,
        scenario=file.scenario,
    )


def load_about(path: Path) -> About:
    """Read what people know of an incident, as it lies beside a run: the files it names need not be there."""
    return _read(path).incident


def _read(path: Path) -> IncidentFile:
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot read the incident: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{path}{_why_no_yaml(text, error)}") from error
    try:
        return IncidentFile.model_validate(raw)
    except ValidationError as error:
        raise ScenarioError(worded(path, lines_of(text), error, IncidentFile)) from None


def _why_no_yaml(text: str, error: Exception) -> str:
    try:
        yaml_lines.parse(text)
    except yaml_lines.YamlError as told:
        return f":{told.line}: {told.message}"
    return f": not YAML: {' '.join(str(error).split())}"


def source_of(place: yaml_lines.Path) -> list[yaml_lines.Path]:
    """Return where what stands at a place of the scenario stands in the incident."""
    return [("arrivals", *place[2:]) if place[:2] == ("load", "arrivals") else ("scenario", *place)]


def lines_of(text: str) -> yaml_lines.Document:
    """Return where what stands: for what is wrong only, since an incident may have more calls than a scenario."""
    try:
        return yaml_lines.parse(text)
    except yaml_lines.YamlError:
        return yaml_lines.Document(None)


def is_incident(path: Path) -> bool:
    """Return whether a YAML file is an incident and no scenario, by its first key that says so."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any(line.startswith("incident:") for line in lines)


def _times(path: Path, arrivals: Arrivals) -> list[float] | None:
    said = [arrivals.at_s, arrivals.file, arrivals.stages]
    if sum(one is not None for one in said) != 1:
        raise ScenarioError(f"{path}: arrivals: needs exactly one of: at_s, file, stages")
    times = arrivals.at_s if arrivals.file is None else _read_times(path.parent / arrivals.file)
    if times is None:
        return None
    if not times:
        raise ScenarioError(f"{path}: arrivals: no call at all")
    return sorted(times)


def _read_times(path: Path) -> list[float]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot read the times of calls: {error}") from error
    found: list[float] = []
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        try:
            at_s = float(text)
        except ValueError:
            at_s = math.nan
        if not math.isfinite(at_s):
            raise ScenarioError(f"{path}:{number}: got {text[:40]!r}; legal: seconds, one call a line")
        found.append(at_s)
    return found
