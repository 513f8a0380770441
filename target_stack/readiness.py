"""What the stack says about itself before it takes calls; /healthz and /readyz return it as JSON."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Readiness:
    """A snapshot of start-up. `ready` only when every stage is.

    `stages`: stage -> "loading", "ready" or "failed: why". `description`: stage -> model and backend.
    """

    ready: bool
    stages: dict[str, str]
    description: dict[str, str]
    # What is not a real part of this stack; reports repeat it.
    simulated: tuple[str, ...] = ()
    # As `up --profile` names it.
    profile: str = "cpu"
