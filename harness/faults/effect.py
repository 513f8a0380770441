"""What carries a fault out. All of it blocks: whoever waits does so in a thread or greenlet of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.faults.reverts import Revert
from harness.model.errors import CallquakeError
from harness.model.fault import Evidence, Fault


class FaultError(CallquakeError):
    """A fault could not be injected, or not be undone; says which and why."""


class Effect(Protocol):
    """One fault at work. `start` at most once; `stop` any number of times, also after a `start` that failed."""

    @property
    def reverts(self) -> tuple[Revert, ...]:
        """What undoes it should we be killed: known, and on disk, before `start`; () where it dies with us."""

    def start(self) -> None:
        """Inject it. Raises FaultError."""

    def evidence(self) -> Evidence:
        """Return what it has done so far; also renews what runs out without us. Raises FaultError."""

    def stop(self) -> Evidence:
        """Undo it and return the last evidence. Raises FaultError where it could not be undone."""


class EngineFaults(Protocol):
    """The engines of a run, which carry out what callers and their packets are to suffer."""

    def begin_fault(self, fault: Fault) -> None:
        """Have every engine apply `fault` to its calls, those that go on and those to come."""

    def fault_evidence(self, name: str) -> Evidence:
        """Return what the engines have told of it so far, summed."""

    def end_fault(self, name: str) -> Evidence:
        """Have every engine let go of it; return the last evidence."""


@dataclass(frozen=True, slots=True)
class Admin:
    """The bundled agent's admin API."""

    # Without a path: "http://127.0.0.1:8080".
    url: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """What effects may use; None where there is none."""

    admin: Admin | None = None
    engines: EngineFaults | None = None
    # For commands and hooks.
    environ: Mapping[str, str] = field(default_factory=dict)
    # Folder that relative paths count from: the scenario's.
    folder: str = "."
    # A fault that is to outlive us: for so long the target keeps it unrenewed. None = it is renewed.
    lease_s: float | None = None


def need_engines(means: Means, fault: Fault) -> EngineFaults:
    """Return the run's engines. Raises FaultError outside of a run."""
    if means.engines is None:
        raise FaultError(
            f"{fault.kind} acts on the calls of a run, and there is none here; legal: in a scenario's `faults`"
        )
    return means.engines


def need_admin(means: Means, fault: Fault) -> Admin:
    """Return the target's admin API. Raises FaultError where nobody said where it is."""
    if means.admin is None:
        raise FaultError(
            f"{fault.kind} acts on a target by its admin API, and no address is known; legal: `admin: {{url: "
            "http://HOST:PORT}` in the scenario, or --admin URL"
        )
    return means.admin


Counts = dict[str, float]


def sum_of(found: list[Evidence], what: str = "") -> Evidence:
    """Return evidence of several places as one."""
    counts: Counts = {}
    for one in found:
        for name, value in one.counts.items():
            counts[name] = counts.get(name, 0) + value
    calls = tuple(dict.fromkeys(call for one in found for call in one.calls))
    said = what or next((one.what for one in found if one.what), "")
    detail = "; ".join(dict.fromkeys(one.detail for one in found if one.detail))
    return Evidence(sum(one.touched for one in found), said, counts, calls, detail)
