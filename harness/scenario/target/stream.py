"""`target.stream`: what a media stream over a WebSocket has besides an address."""

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

    def check(self, url: str) -> None:
        """Raise ValueError unless this block goes with the address."""
        if self.parameters and scheme_of(url) == "audiosocket":
            raise ValueError("parameters: AudioSocket has no message that could carry them; legal: none")
        if self.ca is not None and scheme_of(url) != "wss":
            raise ValueError(f"ca: {scheme_of(url)}:// is not encrypted; legal with it: a wss:// address")

    def to_plan(self) -> StreamSpec:
        """Return the same as a plan says it."""
        return StreamSpec(dict(self.parameters), self.ca)
