"""Ours and the peers measured in turn, their ratios with spread, and the JSON that keeps it all. Pure but for printing.

A ratio is always how many times better ours is: ours over the peer where more is better, the peer over ours where less
is. Each is taken within a round, in which ours and the peers ran one after the other, in an order that turns with the
round; so what drifts on the machine over minutes drops out.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

OURS = "callquake"


class Better(Enum):
    """Which way a measured number is good."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of `n` numbers."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}-{_short(self.high)}, n={self.n})"

    def as_json(self) -> dict[str, float | int]:
        """Return the four numbers."""
        return {"median": self.median, "min": self.low, "max": self.high, "n": self.n}


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of one number or more."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one competitor: the number that is compared, and everything that was seen."""

    value: float
    details: dict[str, Any]


def order_of(names: Sequence[str], round_index: int) -> list[str]:
    """Return who runs when in a round: the order turns by one each round, so that two take turns in being first."""
    shift = round_index % len(names)
    return [*names[shift:], *names[:shift]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What all rounds gave: a list per competitor, index = round."""

    benchmark: str
    unit: str
    better: Better
    runs: Mapping[str, Sequence[Measured]]
    # Why a peer that belongs here has no number.
    not_applicable: Mapping[str, str]

    def ratios_to(self, peer: str) -> list[float]:
        """Return how many times better ours is, per round."""
        pairs = zip(self.runs[OURS], self.runs[peer], strict=True)
        if self.better is Better.HIGHER:
            return [ours.value / theirs.value for ours, theirs in pairs]
        return [theirs.value / ours.value for ours, theirs in pairs]

    @property
    def peers(self) -> list[str]:
        """Who ours is compared with."""
        return [name for name in self.runs if name != OURS]

    def as_json(self, method: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document that `--json` writes."""

        def competitor(name: str) -> dict[str, Any]:
            runs = self.runs[name]
            numbers = spread_of([run.value for run in runs]).as_json()
            return {**numbers, "samples": [{"value": run.value, **run.details} for run in runs]}

        return {
            "benchmark": self.benchmark,
            "unit": self.unit,
            "better": self.better.value,
            "ours": competitor(OURS),
            "peers": {name: competitor(name) for name in self.peers},
            "ratios": {
                name: {**spread_of(each).as_json(), "each": each}
                for name in self.peers
                if (each := self.ratios_to(name))
            },
            "not_applicable": dict(self.not_applicable),
            "method": dict(method),
            "machine": dict(machine),
        }

    def print(self) -> None:
        """Print one line a competitor and one a ratio."""
        print(f"\n{self.benchmark}, {self.unit} ({self.better.value} is better)")
        for name, runs in self.runs.items():
            print(f"  {name:<12} {spread_of([run.value for run in runs])}")
        for name in self.peers:
            print(f"  ours / {name}: {spread_of(self.ratios_to(name))} times better")
        for name, reason in self.not_applicable.items():
            print(f"  {name:<12} not applicable: {reason}")


def run_rounds(
    rounds: int, runners: Mapping[str, Callable[[], Measured]], say: Callable[[str], None]
) -> dict[str, list[Measured]]:
    """Run every competitor once a round; `say` gets a line after each."""
    runs: dict[str, list[Measured]] = {name: [] for name in runners}
    for index in range(rounds):
        for name in order_of(list(runners), index):
            measured = runners[name]()
            runs[name].append(measured)
            turns = measured.details.get("turns")
            notes = "; ".join([*([turns] if turns else []), *measured.details.get("flags", [])])
            say(f"round {index + 1}/{rounds}  {name:<12} {_short(measured.value)}" + (f"  [{notes}]" if notes else ""))
    return runs


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write the document, the folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
