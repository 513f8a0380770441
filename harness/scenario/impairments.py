"""The `impairments` of a scenario's callers or target: which bad network each direction of their calls goes through."""

from typing import Literal

from pydantic import Field, model_validator

from harness.model import impairment
from harness.model.impairment import MAX_DELAY_MS, MAX_KBPS
from harness.scenario.strict_model import StrictModel


class BurstLoss(StrictModel):
    """Gilbert-Elliott loss: two states, each with its own loss."""

    p: float = Field(ge=0, le=1, description="chance per packet to enter the bad state")
    r: float = Field(gt=0, le=1, description="chance per packet to leave it; bursts last 1/r packets on average")
    loss_good: float = Field(default=0.0, ge=0, le=1)
    loss_bad: float = Field(default=1.0, ge=0, le=1)


class Jitter(StrictModel):
    """Delay that differs from packet to packet."""

    ms: float = Field(ge=0, le=MAX_DELAY_MS, description="uniform: to either side; normal: the standard deviation")
    distribution: Literal["uniform", "normal"] = "uniform"
    reorder: Literal["allowed", "kept"] = Field(
        default="allowed", description="allowed: packets may overtake each other; kept: they wait for each other"
    )


class Bandwidth(StrictModel):
    """A bottleneck with a queue."""

    kbps: float = Field(ge=1, le=MAX_KBPS, description="kbit/s, IP and UDP headers included")
    queue_ms: float = Field(
        default=200.0, ge=0, le=MAX_DELAY_MS, description="packets that would queue longer are lost"
    )


class Impairment(StrictModel):
    """What happens to the RTP and RTCP packets of one direction."""

    loss_ratio: float = Field(default=0.0, ge=0, le=1, description="lost at random")
    burst_loss: BurstLoss | None = None
    delay_ms: float = Field(default=0.0, ge=0, le=MAX_DELAY_MS)
    jitter: Jitter | None = None
    reorder_ratio: float = Field(default=0.0, ge=0, le=1, description="held back by reorder_ms more")
    reorder_ms: float = Field(default=30.0, ge=0, le=MAX_DELAY_MS)
    duplicate_ratio: float = Field(default=0.0, ge=0, le=1)
    bandwidth: Bandwidth | None = None

    @model_validator(mode="after")
    def _jitter_has_room(self) -> "Impairment":
        if self.jitter is not None and self.jitter.ms > self.delay_ms:
            raise ValueError(
                f"jitter of {self.jitter.ms:g} ms around a delay of {self.delay_ms:g} ms would send packets into the "
                f"past; legal: a delay_ms of at least {self.jitter.ms:g}"
            )
        return self

    def to_plan(self) -> impairment.Impairment | None:
        """Return the same without a seed, None when it does nothing."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        parts = {"burst_loss": impairment.BurstLoss, "jitter": impairment.Jitter, "bandwidth": impairment.Bandwidth}
        for name, kind in parts.items():
            if values[name] is not None:
                values[name] = kind(**values[name].model_dump())
        planned = impairment.Impairment(**values)
        return planned if planned.does_something else None


class Impairments(StrictModel):
    """A bad network on purpose, for each direction of a call or for both."""

    outgoing: Impairment | None = Field(default=None, description="from the caller to the agent")
    incoming: Impairment | None = Field(default=None, description="from the agent to the caller")
    both: Impairment | None = Field(default=None, description="each direction, with fates of their own")

    @model_validator(mode="after")
    def _is_said_once(self) -> "Impairments":
        if self.both is not None and (self.outgoing is not None or self.incoming is not None):
            raise ValueError("has both and a direction; legal: both alone, or outgoing, incoming or these two")
        return self

    def of(self, direction: impairment.Direction) -> Impairment | None:
        """Return what is said of `direction`, None when nothing is."""
        return self.both or (self.outgoing if direction == "outgoing" else self.incoming)
