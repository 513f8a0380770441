"""`target.stream`: what a media stream over a WebSocket has besides an address."""

from typing import Literal

from pydantic import Field

from harness.model.plan import StreamSpec
from harness.scenario.strict_model import StrictModel
from harness.scenario.target.address import scheme_of
from harness.scenario.target.values import CertificateFile, Secret


class Stream(StrictModel):
    """What a media stream has besides an address."""

    parameters: dict[str, Secret] = Field(
        default_factory=dict, description="told to the agent in the start message; ${NAME} is a variable"
    )
    ca: CertificateFile | None = Field(default=None, description="PEM file to trust for wss://")
    sample_rate: Literal[8000, 16000] | None = Field(
        default=None, description="of codec L16, in Hz; by default 16000 for vonage, 8000 for the others"
    )

    def check(self, url: str, codec: str | None) -> None:
        """Raise ValueError unless this block goes with the address and the codec."""
        if self.sample_rate == 16_000 and codec not in (None, "L16"):
            raise ValueError(f"sample_rate: {codec} has 8000 Hz; legal with 16000: codec L16")
        if self.parameters and scheme_of(url) == "audiosocket":
            raise ValueError("parameters: AudioSocket has no message that could carry them; legal: none")
        if self.ca is not None and scheme_of(url) != "wss":
            raise ValueError(f"ca: {scheme_of(url)}:// is not encrypted; legal with it: a wss:// address")

    def to_plan(self) -> StreamSpec:
        """Return the same as a plan says it."""
        return StreamSpec(dict(self.parameters), self.ca, self.sample_rate)
