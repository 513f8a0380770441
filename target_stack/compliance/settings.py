"""The `compliance:` block of a YAML file, checked. Without one, nothing of this package runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.model.errors import ScenarioError
from target_stack.compliance.rules import UNKNOWN_REGION, RuleTable, read_rules, shipped_rules
from target_stack.compliance.texts import Texts
from target_stack.compliance.words import Activity

_Key = Annotated[str, Field(pattern=r"^[0-9*#]$")]
POSTGRES = ("postgresql://", "postgres://")


class Keys(BaseModel):
    """The keys of the telephone that answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # Not `yes` and `no`: YAML takes those for true and false.
    agree: _Key = "1"
    refuse: _Key = "2"
    withdraw: _Key = "9"

    @model_validator(mode="after")
    def _are_different(self) -> "Keys":
        if len({self.agree, self.refuse, self.withdraw}) < 3:
            raise ValueError("agree, refuse and withdraw need three different keys")
        return self


class Block(BaseModel):
    """The block as it is written; `Settings` is what the stack uses."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # SQLite file, or postgresql://...; "" for compliance.sqlite in `folder`.
    store: str = ""
    # Where recordings, the key of the pseudonyms and by default the store are.
    folder: Path | None = None
    operator: str = Field(default="this service", min_length=1)
    default_region: str = UNKNOWN_REGION
    # What is wanted at all: less is asked for less.
    activities: frozenset[Activity] = frozenset({Activity.PROCESS, Activity.TRANSCRIBE, Activity.RECORD})
    rules: Path | None = None
    # Recognise a spoken yes or no where consent is needed before anything may be recognised; it is kept nowhere.
    transient_answers: bool = False
    # Take a parameter or header `consent` of the call for the caller's answer: for what routes calls here, and tests.
    trust_consent_parameter: bool = False
    keys: Keys = Keys()
    asks: int = Field(default=2, ge=1, le=5)
    answer_timeout_s: float = Field(default=6.0, ge=0.1, le=60)
    retention_days: int = Field(default=90, ge=1, le=3650)
    # How long a consent that no longer holds is kept, to prove what was agreed.
    proof_days: int = Field(default=365, ge=0, le=3650)
    sweep_every_s: float = Field(default=3600, ge=1, le=86_400)
    texts: Texts = Texts()

    @field_validator("activities")
    @classmethod
    def _process_is_wanted(cls, activities: frozenset[Activity]) -> frozenset[Activity]:
        if Activity.PROCESS not in activities:
            raise ValueError("process must be among them: an agent that understands nothing cannot answer")
        return activities


@dataclass(frozen=True)
class Settings:
    """The block with its paths found and its rules read."""

    block: Block
    folder: Path
    store: str
    table: RuleTable

    @property
    def wanted(self) -> frozenset[Activity]:
        """What may be asked for and done; to speak at all is always wanted."""
        return self.block.activities | {Activity.CALL}


def default_folder(environment: Mapping[str, str]) -> Path:
    """Return where personal data is kept when nothing else is said."""
    home = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".local" / "share")
    return Path(home) / "callquake" / "compliance"


def read_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings in a YAML file, those by default for None. Raises ScenarioError with file and place."""
    block = Block() if path is None else _block(path)
    base = Path() if path is None else path.parent
    folder = default_folder(environment) if block.folder is None else base / block.folder.expanduser()
    table = shipped_rules() if block.rules is None else read_rules(base / block.rules)
    return Settings(block, folder, _store(block.store, base, folder), table)


def _store(store: str, base: Path, folder: Path) -> str:
    if store.startswith(POSTGRES):
        return store
    if "://" in store:
        raise ScenarioError(f"compliance.store: {store}: legal: a file, or {POSTGRES[0]}USER@HOST/NAME")
    return str(base / store if store else folder / "compliance.sqlite")


def _block(path: Path) -> Block:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"--compliance {path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"--compliance {path}: no YAML: {error}") from error
    return _checked(loaded, path)


def _checked(loaded: Any, path: Path) -> Block:
    if not isinstance(loaded, dict) or set(loaded) != {"compliance"}:
        raise ScenarioError(f"{path}: must hold one block, `compliance:`")
    try:
        return Block.model_validate(loaded["compliance"] or {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("compliance", *first["loc"]))
        legal = f"; legal: {', '.join(Block.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ScenarioError(f"{path}: {place}: {first['msg']}{legal}") from error
