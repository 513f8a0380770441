"""A runbook's rules: when to do what, and how urgent it is."""

from dataclasses import dataclass
from enum import StrEnum

from harness.verdict.measures import Measure
from harness.verdict.thresholds import Threshold


class Severity(StrEnum):
    """How urgent an alert is, as incident reports grade it."""

    # Page on-call.
    P1 = "P1"
    # Act today.
    P2 = "P2"
    # Look into it.
    P3 = "P3"


@dataclass(frozen=True, slots=True)
class Rule:
    """Where `when` holds for as long as it says, do `action`."""

    name: str
    title: str
    when: Threshold
    severity: Severity
    action: str
    # "triggers", "bands" or "stages".
    section: str = "triggers"

    @property
    def above(self) -> float:
        """The limit."""
        return self.when.limit

    @property
    def unit(self) -> str:
        """Of the limit: "ms", "ratio" or "count"."""
        return self.when.metric.unit


@dataclass(frozen=True, slots=True)
class RuleBand:
    """Values up to `upper`, None in the last band."""

    name: str
    upper: float | None
    meaning: str
    severity: Severity | None = None
    action: str = ""


@dataclass(frozen=True, slots=True)
class BandSet:
    """What the values of one measure mean, from good to bad."""

    measure: Measure
    title: str
    bands: tuple[RuleBand, ...]
    rules: tuple[Rule, ...]

    def band_of(self, value: float) -> RuleBand:
        """Return the band `value` lies in: the first is below its edge, all others hold theirs."""
        for i, band in enumerate(self.bands):
            if band.upper is None or value < band.upper or (i and value == band.upper):
                return band
        return self.bands[-1]
