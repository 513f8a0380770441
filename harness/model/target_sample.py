"""A line of target.jsonl: something that the target told of itself while the run went."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetSample:
    """One value; of counts how many came since the last sample, of all others what it was then."""

    # CLOCK_MONOTONIC of the host that started the run.
    at_ns: int
    name: str
    value: float
    # Which of the target's processes or devices; "" = the target as a whole.
    instance: str = ""
