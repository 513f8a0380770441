"""Which targets let many calls share a UDP port of ours.

Media is told apart by (our port, the peer's address), so calls may share a port only where the agent has a port for
each call. An agent behind a UDP mux answers every call from one address: two of its calls on one port of ours would be
one flow to it. Until two calls that live at the same time have shown what a target does, each has a port of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from harness.media.spec import Address
from harness.model.errors import ScenarioError

# Legal values of a target's `source_ports`.
CHOICES = ("auto", "shared", "per_call")


class Answers(Enum):
    """From where a target's calls are answered."""

    UNKNOWN = "unknown"
    FROM_A_PORT_EACH = "a port for each call"
    FROM_ONE_PORT = "one port for several calls"


@dataclass(slots=True)
class _Target:
    answers: Answers = Answers.UNKNOWN
    # The addresses of calls that live, and how many calls have each.
    live: dict[Address, int] = field(default_factory=dict)


class SourcePorts:
    """What is known of each target; targets are told apart by their URL."""

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}

    def may_share(self, target: str, choice: str) -> bool:
        """Tell whether the next call to `target` may use a port that other calls use."""
        if choice not in CHOICES:
            raise ScenarioError(f"source_ports: '{choice}' is unknown; legal: {', '.join(CHOICES)}")
        if choice == "auto":
            return self.answers(target) is Answers.FROM_A_PORT_EACH
        return choice == "shared"

    def answers(self, target: str) -> Answers:
        """Return what the calls so far have shown."""
        known = self._targets.get(target)
        return Answers.UNKNOWN if known is None else known.answers

    def answered(self, target: str, addresses: Iterable[Address]) -> None:
        """Take note of the addresses a new call was answered from."""
        known = self._targets.setdefault(target, _Target())
        fresh = set(addresses)
        if not fresh:
            return
        if fresh & known.live.keys():
            known.answers = Answers.FROM_ONE_PORT
        elif known.live and known.answers is Answers.UNKNOWN:
            known.answers = Answers.FROM_A_PORT_EACH
        for address in fresh:
            known.live[address] = known.live.get(address, 0) + 1

    def ended(self, target: str, addresses: Iterable[Address]) -> None:
        """Forget a call that was `answered`."""
        live = self._targets[target].live
        for address in set(addresses):
            live[address] -= 1
            if not live[address]:
                del live[address]
