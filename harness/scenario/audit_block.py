"""The `audit` block of a scenario: which processes are watched for leaks, how, and what they may grow by."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from harness.measure.audit_rules import GROWTH_PER_HOUR, LEFT_AFTER, AuditRules
from harness.scenario.strict_model import StrictModel

_STANDARD = AuditRules()
_PROCESS_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class ProcessBlock(StrictModel):
    """A process of the target that does not tell its own number."""

    name: str = Field(pattern=_PROCESS_NAME)
    pid: int | None = Field(default=None, ge=2)
    pid_file: str | None = Field(
        default=None, min_length=1, description="read before each sample; relative to the file"
    )

    @model_validator(mode="after")
    def _is_one(self) -> "ProcessBlock":
        if (self.pid is None) == (self.pid_file is None):
            raise ValueError("needs exactly one of: pid, pid_file")
        return self


class GrowthBlock(StrictModel):
    """Growth an hour at matched load, at most; null = told and not judged."""

    rss_mib: float | None = Field(default=GROWTH_PER_HOUR["rss_mib"], ge=0)
    descriptors: float | None = Field(default=GROWTH_PER_HOUR["descriptors"], ge=0)
    threads: float | None = Field(default=GROWTH_PER_HOUR["threads"], ge=0)
    tasks: float | None = Field(default=GROWTH_PER_HOUR["tasks"], ge=0)


class LeftBlock(StrictModel):
    """What may be left after the load, above what was there before the first call; null = told and not judged."""

    rss_mib: float | None = Field(default=LEFT_AFTER["rss_mib"], ge=0)
    descriptors: float | None = Field(default=LEFT_AFTER["descriptors"], ge=0)
    threads: float | None = Field(default=LEFT_AFTER["threads"], ge=0)
    tasks: float | None = Field(default=LEFT_AFTER["tasks"], ge=0)
    calls: float | None = Field(default=LEFT_AFTER["calls"], ge=0)


class AuditBlock(StrictModel):
    """The leak audit; docs/metrics.md says how it judges."""

    of: list[Literal["target", "own"]] = Field(default=["target", "own"], min_length=1)
    every_s: float = Field(default=_STANDARD.every_s, ge=0.2, le=3600, description="time between samples")
    warm_up: float = Field(
        default=_STANDARD.warm_up, ge=0, le=0.9, description="share of the run left out at its begin"
    )
    windows: int = Field(
        default=_STANDARD.windows, ge=10, le=1000, description="stretches whose medians make the slope"
    )
    load_band: float = Field(
        default=_STANDARD.load_band, gt=0, le=1, description="samples count within this share of the usual calls up"
    )
    drain_s: float = Field(
        default=_STANDARD.drain_s, ge=0, le=3600, description="longest wait after the load for the counts to be back"
    )
    processes: list[ProcessBlock] = Field(
        default_factory=list, description="of the target, beside those that its /healthz tells"
    )
    growth_per_hour: GrowthBlock = GrowthBlock()
    left_after: LeftBlock = LeftBlock()

    @field_validator("processes")
    @classmethod
    def _names_differ(cls, processes: list[ProcessBlock]) -> list[ProcessBlock]:
        names = [one.name for one in processes]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the name {twice!r} stands twice; legal: names that differ")
        return processes
