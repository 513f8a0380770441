"""A kind of fault: what it is, what it takes, what proves it, how it is undone, what it is expected to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.faults.effect import Effect, Means
from harness.faults.parameter import Parameter
from harness.model.fault import Fault, Symptom, Unmoved, Where

Make = Callable[[Fault, Means], Effect]
# Returns what is wrong with parameters that are legal each by itself, "" for nothing.
Rule = Callable[[Mapping[str, Any]], str]


def no_rule(_parameters: Mapping[str, Any]) -> str:
    """Find nothing wrong."""
    return ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the catalogue."""

    # "family.name".
    name: str
    where: Where
    # One line.
    about: str
    parameters: tuple[Parameter, ...]
    # What is counted to prove that it was injected.
    evidence: str
    # What undoes it, on every way out, and what does when we are killed.
    reverts: str
    make: Make
    # What it takes to be possible: root, a certain target, a certain transport; "" = nothing.
    needs: str = ""
    # What it should do where nothing else is claimed; told by `describe`, not checked by itself.
    symptoms: tuple[Symptom, ...] = ()
    # What it should leave alone; the same.
    unmoved: tuple[Unmoved, ...] = ()
    # Parameters as `describe` shows them in its example; {} = the required ones are filled in.
    example: Mapping[str, Any] = field(default_factory=dict)
    rule: Rule = no_rule
    # What of a filter means anything to it.
    filters: tuple[str, ...] = ("share", "callers", "targets")
    # It does its work when it ends: it must have a duration, or a phase.
    needs_end: bool = False
    # It acts by the bundled agent's admin API, wherever it is listed.
    asks_admin: bool = False

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of that name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)
