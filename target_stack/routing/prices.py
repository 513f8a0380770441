"""The price table: a YAML file, read once and checked; every row says where it is from and of when."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.model.errors import ScenarioError

SHIPPED = Path(__file__).with_name("prices.yaml")

Component = Literal["stt", "llm", "tts", "servers", "telephony"]
Unit = Literal["conversation-minute", "audio-minute", "1k-characters"]


class Price(BaseModel):
    """One row: US dollars per unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    component: Component
    usd: float = Field(ge=0)
    per: Unit
    source: str
    as_of: date
    note: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sources: dict[str, str]
    rows: list[Price]


def read_prices(path: Path = SHIPPED) -> Mapping[str, Price]:
    """Return the rows by name. Raises ScenarioError naming the file and what is wrong in it."""
    try:
        table = _Table.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ScenarioError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    prices: dict[str, Price] = {}
    for row in table.rows:
        if row.name in prices:
            raise ScenarioError(f"{path}: {row.name}: in the table twice")
        if row.source not in table.sources:
            raise ScenarioError(f"{path}: {row.name}: source '{row.source}'; legal: {', '.join(table.sources)}")
        prices[row.name] = row
    return prices


def price_of(prices: Mapping[str, Price], name: str, component: str, where: str) -> Price:
    """Return the row for a provider of this component. Raises ScenarioError with `where` and the legal names."""
    legal = [row.name for row in prices.values() if row.component == component]
    if name not in legal:
        raise ScenarioError(f"{where}: price '{name}': no such row for {component}; legal: {', '.join(legal)}")
    return prices[name]
