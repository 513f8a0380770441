"""What a scenario file may hold, as pydantic models: one story of who calls, how often, and what must hold.

Unknown keys are refused. Durations carry their unit in the name. `json_schema()` is what `callquake scenario schema`
prints. Rules that need the corpus or the threshold grammar stand in check.py.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from harness.model.plan import CallLimits, TargetSpec
from harness.scenario.actions import CallerAction
from harness.scenario.arrivals import Stage
from harness.scenario.audit_block import AuditBlock
from harness.scenario.fault_block import AdminBlock, FaultBlock
from harness.scenario.impairments import Impairments
from harness.scenario.strict_model import StrictModel
from harness.scenario.target.block import Target
from harness.scenario.target.several import SharedTarget, check_names
from harness.scenario.wer_options import WerOptions

PATIENCE_SCALES = {"impatient": 2.0, "normal": 1.0, "patient": 0.3, "unlimited": 0.0}
PATIENCE_REPEATS = {"impatient": 1, "normal": 1, "patient": 2, "unlimited": 2}
MAX_CALLS = 1_000_000
MAX_TURNS = 50
_DAY_S = 86_400.0


class Patience(StrictModel):
    """How much a caller bears: `scale` multiplies every hazard, 0 never leaves."""

    scale: float = Field(ge=0, le=100, description="multiplies every hazard; 0 = never leaves")
    max_repeats: int = Field(default=1, ge=0, le=10, description="how often an unanswered utterance is said again")
    name: str = Field(default="custom", min_length=1)


class Ramp(StrictModel):
    """A rate that changes linearly over its stage."""

    from_: float = Field(alias="from", ge=0, le=1e6)
    to: float = Field(ge=0, le=1e6)


def _turns(value: Any) -> Any:
    low, high = (value, value) if isinstance(value, int) else _pair(value)
    fits = all(isinstance(v, int) and not isinstance(v, bool) for v in (low, high)) and 1 <= low <= high <= MAX_TURNS
    if not fits:
        raise ValueError(
            f"got {value!r}; legal: a whole number from 1 to {MAX_TURNS}, or [least, most] of such, like [2, 4]"
        )
    return (low, high)


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if isinstance(value, list | tuple) and len(value) == 2 else (None, None)


def _think(value: Any) -> Any:
    low, high = _pair(value)
    fits = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high)) and 0 <= low <= high <= 60e3
    if not fits:
        raise ValueError(f"got {value!r}; legal: [least, most] in milliseconds, 0 to 60000, like [300, 900]")
    return (float(low), float(high))


def _patience(value: Any) -> Any:
    if isinstance(value, str) and value in PATIENCE_SCALES:
        return Patience(name=value, scale=PATIENCE_SCALES[value], max_repeats=PATIENCE_REPEATS[value])
    if isinstance(value, dict | Patience):
        return value
    raise ValueError(
        f"got {value!r}; legal: {', '.join(PATIENCE_SCALES)}, or a mapping like {{scale: 0.5, max_repeats: 1}}"
    )


def _rate(value: Any) -> Any:
    if isinstance(value, dict | Ramp):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e6:
        return Ramp.model_validate({"from": float(value), "to": float(value)})
    raise ValueError(f"got {value!r}; legal: calls per minute, 0 to 1000000, or a linear ramp like {{from: 5, to: 60}}")


def _record(value: Any) -> Any:
    if value == "none" or value is False:
        return 0.0
    if value == "all" or value is True:
        return 1.0
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise ValueError(f"got {value!r}; legal: none, all, or a share of the calls from 0 to 1")


def _threshold(value: Any) -> Any:
    return {"expr": value} if isinstance(value, str) else value


_RANGE_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_WHOLE = {"type": "integer", "minimum": 1, "maximum": MAX_TURNS}
TurnRange = Annotated[
    tuple[int, int],
    BeforeValidator(_turns),
    WithJsonSchema({"anyOf": [_WHOLE, {**_RANGE_SCHEMA, "items": _WHOLE}]}),
]
ThinkRange = Annotated[tuple[float, float], BeforeValidator(_think), WithJsonSchema(_RANGE_SCHEMA)]
PatienceChoice = Annotated[
    Patience,
    BeforeValidator(_patience),
    WithJsonSchema({"anyOf": [{"enum": list(PATIENCE_SCALES)}, Patience.model_json_schema()]}),
]
Rate = Annotated[
    Ramp,
    BeforeValidator(_rate),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, Ramp.model_json_schema()]}),
]
RecordShare = Annotated[
    float,
    BeforeValidator(_record),
    WithJsonSchema({"anyOf": [{"enum": ["none", "all"]}, {"type": "number", "minimum": 0, "maximum": 1}]}),
]


class Select(StrictModel):
    """Which utterances a caller may say; a filter left out matches all of the corpus."""

    accent: list[str] | None = Field(default=None, min_length=1)
    noise: list[str] | None = Field(default=None, min_length=1)
    native: list[bool] | None = Field(default=None, min_length=1)
    snr_db: list[float | None] | None = Field(default=None, min_length=1, description="null stands for clean speech")
    vocabulary: list[str] | None = Field(default=None, min_length=1)
    domain: list[str] | None = Field(
        default=None, min_length=1, description="left out, it is all but long, pause and backchannel"
    )
    condition: list[str] | None = Field(default=None, min_length=1)
    room: list[str] | None = Field(default=None, min_length=1)
    channel: list[str] | None = Field(default=None, min_length=1)
    distortion: list[str] | None = Field(default=None, min_length=1)
    speaker: list[str] | None = Field(default=None, min_length=1)
    sentence_id: list[str] | None = Field(default=None, min_length=1)
    ids: list[str] | None = Field(default=None, min_length=1)


class Caller(StrictModel):
    """A kind of caller; calls are dealt out over the kinds by weight."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    weight: float = Field(default=1.0, ge=0, le=1e6)
    select: Select = Select()
    turns: TurnRange = (3, 3)
    patience: PatienceChoice = Field(default_factory=lambda: _patience("normal"))
    think_ms: ThinkRange = (300.0, 900.0)
    impairments: Impairments | None = Field(
        default=None, description="a bad network on purpose; a direction said here replaces the target's"
    )
    actions: list[CallerAction] = Field(default_factory=list, description="keys pressed, the agent put on hold")


class ArrivalStage(StrictModel):
    """A stretch of the arrival schedule."""

    duration_s: float = Field(gt=0, le=_DAY_S)
    rate_per_minute: Rate
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z][A-Za-z0-9_.-]{0,63})?$",
        description="what faults and thresholds may call this phase; its number from 1 does as well",
    )


class Arrivals(StrictModel):
    """Open loop: calls start when they are due, whatever became of the earlier ones."""

    distribution: Literal["poisson", "uniform"] = "poisson"
    rate_per_minute: float | None = Field(default=None, gt=0, le=1e6)
    duration_s: float | None = Field(default=None, gt=0, le=_DAY_S)
    stages: list[ArrivalStage] | None = Field(default=None, min_length=1)
    at_s: list[Annotated[float, Field(ge=0, le=_DAY_S)]] | None = Field(
        default=None, min_length=1, max_length=MAX_CALLS, description="when each call is due, in seconds, rising"
    )
    calls: int | None = Field(default=None, ge=1, le=MAX_CALLS, description="at most this many calls")

    @field_validator("at_s")
    @classmethod
    def _rises(cls, at_s: list[float] | None) -> list[float] | None:
        later = next((i for i, (a, b) in enumerate(pairwise(at_s or []), 1) if b < a), None)
        if at_s is not None and later is not None:
            raise ValueError(f"entry {later + 1} is before the one above it; legal: times that rise")
        return at_s

    @model_validator(mode="after")
    def _is_bounded(self) -> "Arrivals":
        if [self.stages, self.rate_per_minute, self.at_s].count(None) != 2:
            raise ValueError("needs exactly one of: rate_per_minute, stages, at_s")
        if self.at_s is not None and self.duration_s is not None:
            raise ValueError("duration_s goes with rate_per_minute; at_s says when each call is due")
        if self.stages is not None and self.duration_s is not None:
            raise ValueError("duration_s goes with rate_per_minute; stages carry their own")
        if self.rate_per_minute is not None and self.duration_s is None and self.calls is None:
            raise ValueError("has no end: give duration_s, calls or both")
        if (calls := self.expected_calls()) > MAX_CALLS:
            raise ValueError(f"would place about {calls:.0f} calls; legal: at most {MAX_CALLS}")
        return self

    def ramps(self) -> list[Stage]:
        """Return the schedule as the pure arrivals module takes it; without a duration it ends by its `calls`."""
        if self.at_s is not None:
            return [Stage(math.inf, 0.0, 0.0)]
        if self.stages is not None:
            rates = [(s.duration_s, s.rate_per_minute) for s in self.stages]
            return [Stage(duration, rate.from_, rate.to) for duration, rate in rates]
        rate = self.rate_per_minute or 0.0
        return [Stage(self.duration_s if self.duration_s is not None else math.inf, rate, rate)]

    def expected_calls(self) -> float:
        """Return the mean number of calls the schedule places."""
        if self.at_s is not None:
            return len(self.at_s) if self.calls is None else min(len(self.at_s), self.calls)
        mean = sum(stage.calls for stage in self.ramps())
        return mean if self.calls is None else min(mean, self.calls)


class UserStage(StrictModel):
    """A stretch of closed-loop load: `users` slots, each with one call after another."""

    duration_s: float = Field(gt=0, le=_DAY_S)
    users: int = Field(ge=0, le=100_000)
    spawn_rate: float = Field(default=1.0, gt=0, le=100, description="users started or stopped a second")
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z][A-Za-z0-9_.-]{0,63})?$",
        description="what faults and thresholds may call this phase; its number from 1 does as well",
    )


class Users(StrictModel):
    """Closed loop: a slot places its next call when its last one has ended."""

    stages: list[UserStage] = Field(min_length=1)
    calls: int | None = Field(default=None, ge=1, le=MAX_CALLS)

    @field_validator("stages")
    @classmethod
    def _somebody_calls(cls, stages: list[UserStage]) -> list[UserStage]:
        if not any(stage.users for stage in stages):
            raise ValueError("no stage has users; legal: at least one stage with users of 1 or more")
        return stages


class Load(StrictModel):
    """How many calls and when: `arrivals` or `users`."""

    arrivals: Arrivals | None = None
    users: Users | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Load":
        if (self.arrivals is None) == (self.users is None):
            raise ValueError("needs exactly one of: arrivals (open loop), users (closed loop)")
        return self


class Limits(StrictModel):
    """Time-outs of one call."""

    connect_timeout_s: float = Field(default=15.0, gt=0, le=300)
    greeting_timeout_s: float = Field(default=15.0, gt=0, le=300)
    answer_timeout_s: float = Field(
        default=15.0, gt=0, le=300, description="a turn without an answer until then is censored"
    )
    quiet_ms: float = Field(
        default=900.0, ge=100, le=10_000, description="the agent counts as finished after this silence"
    )
    media_timeout_s: float = Field(default=8.0, gt=0, le=300)
    call_timeout_s: float = Field(default=300.0, gt=0, le=_DAY_S)

    def to_plan(self) -> CallLimits:
        """Return the same limits in the plan's unit."""
        return CallLimits(
            connect_timeout_ms=self.connect_timeout_s * 1000,
            greeting_timeout_ms=self.greeting_timeout_s * 1000,
            answer_timeout_ms=self.answer_timeout_s * 1000,
            quiet_ms=self.quiet_ms,
            media_timeout_ms=self.media_timeout_s * 1000,
            call_timeout_ms=self.call_timeout_s * 1000,
        )


class ThresholdEntry(StrictModel):
    """One line that must hold; docs/metrics.md gives the grammar."""

    expr: str = Field(min_length=1)
    min_samples: int | None = Field(default=None, ge=1, le=1_000_000)


ThresholdChoice = Annotated[
    ThresholdEntry,
    BeforeValidator(_threshold),
    WithJsonSchema({"anyOf": [{"type": "string"}, ThresholdEntry.model_json_schema()]}),
]


class Scenario(StrictModel):
    """A whole scenario file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    description: str = ""
    seed: int = Field(default=1, ge=0, le=2**53)
    corpus: str | None = Field(default=None, min_length=1, description="corpus folder, relative to this file")
    targets: dict[str, SharedTarget] | None = Field(
        default=None, description="instead of target: several to call in one run, a name to each"
    )
    target: Target | None = Field(default=None, validate_default=True, description="whom to call")
    callers: list[Caller] = Field(min_length=1)
    load: Load
    limits: Limits = Limits()
    record: RecordShare = 0.0
    wer: WerOptions = WerOptions()
    thresholds: list[ThresholdChoice] = Field(default_factory=list)
    runbook: str | None = Field(default=None, min_length=1, description="runbook file, relative to this file")
    faults: list[FaultBlock] = Field(default_factory=list, description="what is broken on purpose, and when")
    admin: AdminBlock | None = Field(default=None, description="the bundled agent's admin API, for faults of its own")
    audit: AuditBlock | None = Field(default=None, description="watch processes for leaks; {} = by the defaults")

    @field_validator("targets")
    @classmethod
    def _targets_are_told_apart(cls, targets: dict[str, SharedTarget] | None) -> dict[str, SharedTarget] | None:
        return targets if targets is None else check_names(targets)

    @field_validator("target")
    @classmethod
    def _is_said_once(cls, target: Target | None, info: ValidationInfo) -> Target | None:
        if "targets" not in info.data:
            return target
        if target is None and info.data["targets"] is None:
            raise ValueError("missing; legal: target (whom to call), or targets (several, a name to each)")
        if target is not None and info.data["targets"] is not None:
            raise ValueError("there are targets, too; legal: one of the two")
        return target

    @field_validator("callers")
    @classmethod
    def _callers_are_sound(cls, callers: list[Caller]) -> list[Caller]:
        if not any(c.weight > 0 for c in callers):
            raise ValueError("every weight is 0, so nobody would call; legal: at least one weight above 0")
        names = [c.name for c in callers]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"the name {twice[0]!r} stands twice; legal: names that differ")
        return callers

    @property
    def named_targets(self) -> Mapping[str, Target]:
        """The targets by name; the only one of a scenario with `target` has the name ""."""
        if self.targets is not None:
            return self.targets
        return {} if self.target is None else {"": self.target}

    def target_spec(self, url: str | None = None) -> TargetSpec:
        """Where calls go; `url` overrides the file's. Raises ValueError where there are several targets, too."""
        if self.target is None:
            raise ValueError(f"the scenario has several targets: {', '.join(self.named_targets)}")
        return self.target.spec(url)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file, for editors."""
    schema = Scenario.model_json_schema(by_alias=True)
    # Left out or given: null is neither.
    for key in ("target", "targets"):
        said = schema["properties"][key]
        schema["properties"][key] = {**said["anyOf"][0], "description": said["description"]}
    choice = {"oneOf": [{"required": ["target"]}, {"required": ["targets"]}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        **choice,
        "title": "callquake scenario",
    }
