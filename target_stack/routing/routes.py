"""The routes file (`up --routes FILE`): which providers each stage has, their capacities, limits and prices.

    prices: my-prices.yaml            # default: the shipped table
    overflow_at: 0.8                  # of our own capacity; back below return_below
    return_below: 0.7
    patience_ms: 3000                 # how long a request waits for a provider, over all its tries
    throughout: [self-hosted-servers] # paid for every minute of a call
    tts:
      own: {capacity: 10, price: self-hosted-tts}
      others:
        - {name: elevenlabs, url: "https://...", key_env: ELEVEN_KEY, price: elevenlabs-flash, per_minute: 600}
        - {name: spare, url: standin, price: openai-tts-1}
    llm:
      own: {capacity: 8, price: self-hosted-llm, for: [simple, medium]}
      others:
        - {name: mini, url: standin, price: gpt-4o-mini, for: [simple]}
        - {name: big, url: standin, price: gpt-4o, for: [medium, complex]}

A stage that is not named has our own only, without a bound of the router's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from harness.model.errors import ScenarioError
from target_stack.routing.complexity import COMPLEXITIES, Complexity
from target_stack.routing.prices import SHIPPED, Price, price_of, read_prices

# What a stage of our own is called among its providers, in metrics and events.
OWN = "self-hosted"
STANDIN = "standin"
STAGES: tuple[Literal["stt", "llm", "tts"], ...] = ("stt", "llm", "tts")
# Beyond any number of calls a process takes.
UNBOUNDED = 1_000_000

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$")]
_STRICT = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class OwnRoute(BaseModel):
    """Our own models. `capacity`: requests at once, waiting ones included."""

    model_config = _STRICT

    capacity: int = Field(default=UNBOUNDED, ge=1)
    price: str = ""
    for_: tuple[Complexity, ...] = Field(default=COMPLEXITIES, alias="for")


class StandInRoute(BaseModel):
    """How the stand-in behaves, for `url: standin`."""

    model_config = _STRICT

    latency_ms: float = Field(default=80.0, ge=0)
    per_minute: float = Field(default=0.0, ge=0)
    burst: int = Field(default=10, ge=1)
    at_once: int = Field(default=0, ge=0)


class OtherRoute(BaseModel):
    """A provider over HTTP, as OpenAI's API has it."""

    model_config = _STRICT

    name: Label
    url: str
    price: str
    model: str = "default"
    voice: str = "default"
    # The environment variable that holds its key.
    key_env: str = ""
    # Our own bounds for it; 0: none but what it says itself.
    per_minute: float = Field(default=0.0, ge=0)
    burst: int = Field(default=10, ge=1)
    capacity: int = Field(default=100, ge=1)
    timeout_ms: float = Field(default=5000.0, gt=0)
    for_: tuple[Complexity, ...] = Field(default=COMPLEXITIES, alias="for")
    standin: StandInRoute = StandInRoute()

    @model_validator(mode="after")
    def _url_is_known(self) -> Self:
        if self.url != STANDIN and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url '{self.url}': must be {STANDIN}, or begin with http:// or https://")
        if self.name == OWN:
            raise ValueError(f"the name {OWN} is our own")
        return self


class StageRoute(BaseModel):
    """One stage's providers."""

    model_config = _STRICT

    own: OwnRoute = OwnRoute()
    others: tuple[OtherRoute, ...] = ()


class _File(BaseModel):
    model_config = _STRICT

    prices: Path | None = None
    overflow_at: float = Field(default=0.8, gt=0, le=1)
    return_below: float = Field(default=0.7, gt=0, le=1)
    patience_ms: float = Field(default=3000.0, ge=0)
    throughout: tuple[str, ...] = ("self-hosted-servers",)
    stt: StageRoute = StageRoute()
    llm: StageRoute = StageRoute()
    tts: StageRoute = StageRoute()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.return_below > self.overflow_at:
            raise ValueError("return_below must not be above overflow_at")
        for stage in STAGES:
            names = [other.name for other in getattr(self, stage).others]
            if len(set(names)) < len(names):
                raise ValueError(f"{stage}: two providers have one name")
        return self


class Routes(BaseModel):
    """A routes file, its prices looked up. `stages`: by stage; `priced`: by stage and provider."""

    model_config = ConfigDict(frozen=True)

    overflow_at: float
    return_below: float
    patience_ms: float
    throughout: tuple[Price, ...]
    stages: Mapping[str, StageRoute]
    priced: Mapping[str, Mapping[str, Price]]


def read_routes(path: Path | None) -> Routes:
    """Return the routes of a file; None: our own only. Raises ScenarioError naming the file, the place and why."""
    if path is None:
        return _with_prices(_File(), Path("routes"))
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        file = _File.model_validate(raw if raw is not None else {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ScenarioError(f"{path}: {place + ': ' if place else ''}{first['msg']}") from error
    return _with_prices(file, path)


def _with_prices(file: _File, path: Path) -> Routes:
    table = read_prices(path.parent / file.prices if file.prices is not None else SHIPPED)
    stages: dict[str, StageRoute] = {stage: getattr(file, stage) for stage in STAGES}
    priced: dict[str, dict[str, Price]] = {}
    for stage, route in stages.items():
        own = price_of(table, route.own.price or f"{OWN}-{stage}", stage, f"{path}: {stage}.own")
        others = {
            other.name: price_of(table, other.price, stage, f"{path}: {stage}.others.{other.name}")
            for other in route.others
        }
        priced[stage] = {OWN: own, **others}
    unknown = [name for name in file.throughout if name not in table]
    if unknown:
        raise ScenarioError(f"{path}: throughout: price '{unknown[0]}': no such row; legal: {', '.join(table)}")
    return Routes(
        overflow_at=file.overflow_at,
        return_below=file.return_below,
        patience_ms=file.patience_ms,
        throughout=tuple(table[name] for name in file.throughout),
        stages=stages,
        priced=priced,
    )
