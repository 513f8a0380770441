"""The file of service times: what `callquake stages measure` writes and `up --service-times` reads.

    name: my-laptop                    # reports say "service times from my-laptop"
    source: ...                        # measured where and when, or written by whom
    stt:                               # units: seconds of audio
      slots: 2                         # in work at once
      waiting: 64                      # may wait behind them; one more is refused
      cold_start_ms: [[0, 5000], [1, 10000]]
      levels:                          # by how many are in work at once
        - {at_once: 1, base_ms: 60, per_unit_ms: 24, spread: [[0, 0.6], [0.5, 1], [1, 2.5]], n: 40}
    llm:                               # `levels`: to the first token, units: tokens of the prompt
      token_levels: [...]              # units: tokens written, base_ms 0
      kv_tokens: 65536                 # of all replies being written, prompts included
      context_tokens: 8192             # of one
    tts:                               # units: characters
      batch: 8
      batch_factors: [[1, 1], [8, 2]]  # a batch of 8 takes twice as long as one sentence
      speech_ms_per_character: 62

`spread` and `cold_start_ms` are rows of [share, value]: the quantiles of measured time over expected time, and of ms.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from harness.model.errors import ScenarioError

GUIDE = Path(__file__).with_name("guide.yaml")
# As `--service-times` names the shipped file.
GUIDE_NAME = "guide"

_STRICT = ConfigDict(extra="forbid", frozen=True)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$")]
Table = tuple[tuple[float, float], ...]


def _rising(table: Table) -> Table:
    """Raise ValueError unless shares and values rise, with a row at least."""
    if not table:
        raise ValueError("needs at least one row of [share, value]")
    for (low, at_low), (high, at_high) in pairwise(table):
        if low >= high or at_low > at_high:
            raise ValueError(f"rows [{low:g}, {at_low:g}] and [{high:g}, {at_high:g}]: both columns must rise")
    if table[0][0] < 0 or table[-1][0] > 1 or table[0][1] < 0:
        raise ValueError("shares must be 0 to 1, values not negative")
    return table


class Level(BaseModel):
    """Times while `at_once` requests are in work; `n`: how many were measured for it, 0 for figures from elsewhere."""

    model_config = _STRICT

    at_once: int = Field(ge=1)
    base_ms: float = Field(ge=0)
    per_unit_ms: float = Field(ge=0)
    spread: Table = ((0.0, 1.0), (1.0, 1.0))
    n: int = Field(default=0, ge=0)

    _spread_rises = field_validator("spread")(_rising)


def _levels_rise(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    at_once = [level.at_once for level in levels]
    if not levels or at_once != sorted(set(at_once)):
        raise ValueError("needs at least one level, at_once rising")
    return levels


class StageTimes(BaseModel):
    """What the three stages have in common."""

    model_config = _STRICT

    slots: int = Field(ge=1, le=4096)
    waiting: int = Field(default=64, ge=1)
    cold_start_ms: Table = ((0.0, 0.0), (1.0, 0.0))
    levels: tuple[Level, ...]

    _cold_start_rises = field_validator("cold_start_ms")(_rising)
    _rises = field_validator("levels")(_levels_rise)


class LlmTimes(StageTimes):
    """`levels` run to the first token."""

    token_levels: tuple[Level, ...]
    kv_tokens: int = Field(default=1_000_000, ge=1)
    context_tokens: int = Field(default=8192, ge=1)

    _tokens_rise = field_validator("token_levels")(_levels_rise)

    @model_validator(mode="after")
    def _one_fits(self) -> Self:
        if self.context_tokens > self.kv_tokens:
            raise ValueError("context_tokens must not be above kv_tokens: such a reply could never begin")
        return self


class TtsTimes(StageTimes):
    """`slots` are replicas, each with a batch of up to `batch` sentences."""

    batch: int = Field(default=1, ge=1, le=64)
    batch_wait_ms: float = Field(default=50.0, ge=0)
    # Rows of (sentences in the batch, times the time of its mean sentence alone).
    batch_factors: Table = ((1.0, 1.0), (64.0, 64.0))
    speech_ms_per_character: float = Field(default=62.0, gt=0)

    @field_validator("batch_factors")
    @classmethod
    def _factors_rise(cls, table: Table) -> Table:
        if (
            not table
            or table[0] != (1.0, 1.0)
            or any(low >= high or at_low > at_high for (low, at_low), (high, at_high) in pairwise(table))
        ):
            raise ValueError("must begin with [1, 1] and rise")
        return table


class ServiceTimes(BaseModel):
    """A file of service times."""

    model_config = _STRICT

    name: Name
    source: str = Field(min_length=1)
    stt: StageTimes
    llm: LlmTimes
    tts: TtsTimes
    # Whatever else is worth knowing of the measurement: host, versions, date.
    measured: dict[str, str] = Field(default_factory=dict)


def read_service_times(path: Path | None) -> ServiceTimes:
    """Return the file's content, None for the shipped one. Raises ScenarioError naming file, place and reason."""
    path = GUIDE if path is None else path
    try:
        return ServiceTimes.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ScenarioError(f"{path}: {place + ': ' if place else ''}{first['msg']}") from error
