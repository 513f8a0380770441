"""What carries a fault out. All of it blocks: whoever waits does so in a thread or greenlet of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.faults.errors import FaultError
from harness.faults.reverts import Revert, RevertError, undo
from harness.model.fault import Evidence, Fault


def undo_all(reverts: Sequence[Revert], environ: Mapping[str, str] | None = None) -> None:
    """Undo what a fault did, the last thing first, all of it. Raises FaultError saying what could not be undone."""
    problems = []
    for revert in reversed(reverts):
        try:
            undo(revert, environ or {})
        except RevertError as error:
            problems.append(str(error))
    if problems:
        raise FaultError("; ".join(problems))


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


class Undoing:
    """Base of effects that are looked at as long as they are in force, and undone by one step.

    `start` is the kind's own: it says by `_is_in_force` from when on there is something to undo.
    """

    def __init__(self, reverts: tuple[Revert, ...], what: str = "", environ: Mapping[str, str] | None = None) -> None:
        self._reverts, self._environ = reverts, environ
        self._last = Evidence(what=what)
        self._is_in_force = False

    @property
    def reverts(self) -> tuple[Revert, ...]:
        """What undoes it."""
        return self._reverts

    def _look(self) -> Evidence:
        """Return what it has done so far. Raises FaultError."""
        raise NotImplementedError

    def _undo(self) -> None:
        """Undo it. Raises FaultError."""
        undo_all(self._reverts, self._environ)

    def evidence(self) -> Evidence:
        """Return what it has done so far; once it is over, what it had done. Raises FaultError."""
        if self._is_in_force:
            self._last = self._look()
        return self._last

    def stop(self) -> Evidence:
        """Undo it, whatever becomes of the last evidence. Raises FaultError where it could not be undone."""
        if not self._is_in_force:
            return self._last
        try:
            self.evidence()
        except (FaultError, OSError) as error:
            self._last = replace(self._last, detail=str(error))
        self._undo()
        self._is_in_force = False
        return self._last


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
            f"{fault.kind} acts on the calls of a run, and there is none here; legal: in a scenario's `faults`, or "
            "--run DIR"
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
