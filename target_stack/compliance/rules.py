"""The rules as a table: read from YAML and checked; those that apply to a region, direction and day. No clock."""

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.model.errors import ScenarioError
from target_stack.compliance.words import Activity, Direction, Need, Notice

UNKNOWN_REGION = "ZZ"
EVERYWHERE = "*"
_NEEDS = {need.name.lower(): need for need in Need}


class Requirement(BaseModel):
    """What one row wants before one activity."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    need: Need
    notices: frozenset[Notice]


class Rule(BaseModel):
    """One row of the table; see rules.yaml for what each field means."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    id: str = Field(min_length=1)
    title: str
    regions: tuple[str, ...] = Field(min_length=1)
    directions: tuple[Direction, ...] = (Direction.INBOUND, Direction.OUTBOUND)
    before: dict[Activity, Requirement]
    retention_days: int | None = Field(default=None, ge=1)
    consent_days: int | None = Field(default=None, ge=1)
    applies_from: date | None = Field(default=None, alias="from")
    source: str | dict[str, str]
    as_of: date

    @field_validator("before", mode="before")
    @classmethod
    def _requirements(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {activity: _requirement(words) for activity, words in value.items()}

    def names(self, region: str) -> bool:
        """Tell whether a pattern of this row fits `region`."""
        return any(fnmatchcase(region, pattern) for pattern in self.regions)

    def source_for(self, region: str) -> str:
        """Return the law behind this row in `region`."""
        return self.source if isinstance(self.source, str) else self.source.get(region, "; ".join(self.source.values()))


def _requirement(words: Any) -> Any:
    if not isinstance(words, list):
        return words
    needs = [_NEEDS[word] for word in words if word in _NEEDS]
    return {"need": max(needs, default=Need.NOTHING), "notices": [word for word in words if word not in _NEEDS]}


class RuleTable(BaseModel):
    """All rows. Exactly one row may name UNKNOWN_REGION: what holds where nothing is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: tuple[Rule, ...]

    @field_validator("rows")
    @classmethod
    def _whole(cls, rows: tuple[Rule, ...]) -> tuple[Rule, ...]:
        ids = [row.id for row in rows]
        if len(set(ids)) < len(ids):
            raise ValueError("two rows have the same id")
        if not any(UNKNOWN_REGION in row.regions for row in rows):
            raise ValueError(f"no row names {UNKNOWN_REGION}: what holds in a region that no row knows?")
        return rows

    def known(self, region: str) -> str:
        """Return `region` in capitals, or UNKNOWN_REGION where no row knows it."""
        wanted = region.strip().upper()
        is_known = any(row.names(wanted) for row in self.rows if EVERYWHERE not in row.regions)
        return wanted if is_known else UNKNOWN_REGION

    def applying(self, region: str, direction: Direction, day: date) -> tuple[Rule, ...]:
        """Return the rows for a call: those of its region, else of UNKNOWN_REGION, and those of everywhere."""
        place = self.known(region)
        return tuple(
            row
            for row in self.rows
            if row.names(place)
            and direction in row.directions
            and (row.applies_from is None or day >= row.applies_from)
        )


def strictest_need(rows: Iterable[Rule], activity: Activity) -> Need:
    """Return the most that any row needs before `activity`."""
    return max((row.before[activity].need for row in rows if activity in row.before), default=Need.NOTHING)


def shortest(days: Iterable[int | None], default: int) -> int:
    """Return the least of the days that are given."""
    return min((d for d in days if d is not None), default=default)


def read_rules(path: Path) -> RuleTable:
    """Return the table in a YAML file. Raises ScenarioError naming the file and the place in it."""
    try:
        return _table(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error


@cache
def shipped_rules() -> RuleTable:
    """Return the table that comes with the stack."""
    text = files("target_stack.compliance").joinpath("rules.yaml").read_text(encoding="utf-8")
    return _table(text, "rules.yaml")


def _table(text: str, name: str) -> RuleTable:
    try:
        return RuleTable.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ScenarioError(f"{name}: no YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ScenarioError(f"{name}: {place or 'file'}: {first['msg']}") from error
