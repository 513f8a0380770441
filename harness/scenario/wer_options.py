"""The `wer` block of a scenario: how many turns of a long run are scored."""

from pydantic import Field

from harness.measure.sampling import AT_MOST
from harness.scenario.strict_model import StrictModel


class WerOptions(StrictModel):
    """Which turns WER is computed on; a seeded sample, the same whenever a report is made."""

    share: float = Field(default=1.0, gt=0, le=1, description="share of the turns that are scored, 0.1 for a tenth")
    at_most: int = Field(default=AT_MOST, ge=1, le=10_000_000, description="score no more turns than these")
