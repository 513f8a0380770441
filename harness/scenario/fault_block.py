"""The `faults` and `admin` blocks of a scenario: what is broken, when, for whom, and what must come of it."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from harness.faults.catalogue import KINDS
from harness.model.fault import FaultFilter
from harness.model.secrets import names_in
from harness.scenario.strict_model import StrictModel

_DAY_S = 86_400.0


class FilterBlock(StrictModel):
    """What a fault touches."""

    share: float = Field(default=1.0, ge=0, le=1, description="of the calls (or requests) that fit, drawn by the seed")
    callers: list[str] = Field(default_factory=list, description="names of callers; left out, all")
    targets: list[str] = Field(default_factory=list, description="names of targets; left out, all")

    def to_model(self) -> FaultFilter:
        """Return the same as faults have it."""
        return FaultFilter(self.share, tuple(self.callers), tuple(self.targets))


class SymptomBlock(StrictModel):
    """What a fault must visibly do."""

    metric: str = Field(min_length=1, description='as a threshold names it, like "ttfb_ms p95"')
    direction: Literal["up", "down"]
    by: float = Field(gt=0, description="at least so far from the steady state before, in the metric's unit")


class UnmovedBlock(StrictModel):
    """What a fault must leave alone."""

    metric: str = Field(min_length=1, description='as a threshold names it, like "wer"')
    within: float = Field(ge=0, description="so near to the steady state before, in the metric's unit")


class FaultBlock(StrictModel):
    """One fault."""

    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$",
        description="unique; thresholds say `during fault:NAME`; left out, the kind's",
    )
    kind: str = Field(
        min_length=1, description="`callquake fault list` names them all", json_schema_extra={"enum": list(KINDS)}
    )
    start_s: float = Field(
        default=0.0, ge=0, le=_DAY_S, description="after the first instant a call can be due, or the phase's begin"
    )
    duration_s: float | None = Field(
        default=None, gt=0, le=_DAY_S, description="left out: to the end of the phase, or of the run"
    )
    phase: str | int | None = Field(default=None, description="name or number (from 1) of a stage of the load")
    parameters: dict[str, Any] = Field(default_factory=dict, description="the kind's own: `callquake fault describe`")
    filter: FilterBlock = FilterBlock()
    seed: int | None = Field(default=None, ge=0, le=2**53, description="left out, the run's")
    symptoms: list[SymptomBlock] = Field(default_factory=list, description="what it must visibly do")
    unmoved: list[UnmovedBlock] = Field(default_factory=list, description="what it must leave alone")
    recovers_within_s: float | None = Field(
        default=None, ge=0, le=_DAY_S, description="after its end what moved must be back by then"
    )

    @field_validator("phase")
    @classmethod
    def _is_a_phase(cls, phase: str | int | None) -> str | int | None:
        if isinstance(phase, bool) or phase == "":
            raise ValueError(f"got {phase!r}; legal: the name of a stage of the load, or its number from 1")
        return phase


class AdminBlock(StrictModel):
    """Where the bundled agent's admin API is, which breaks its stages."""

    url: str = Field(description="like http://127.0.0.1:8080; left out, the origin of an HTTP or WebSocket target")
    token: str = Field(default="", description='as ${NAME} of an environment variable; "" where it needs none')

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return checked_origin(url)

    @field_validator("token")
    @classmethod
    def _is_named(cls, token: str) -> str:
        if token and not names_in(token):
            raise ValueError("a token in clear text; legal: ${NAME}, set in the environment")
        return token


def checked_origin(url: str) -> str:
    """Return an admin API's address without a path. Raises ValueError."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        is_right = False
    if not is_right or parts.path.strip("/") or parts.query:
        raise ValueError(f"got {url!r}; legal: http://HOST:PORT or https://HOST:PORT, without a path")
    return url.rstrip("/")
