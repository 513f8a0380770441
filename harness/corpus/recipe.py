"""The recipe of a corpus: which words, voices, accents and noises it is built from (YAML, checked on reading)."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.model.errors import ScenarioError


def _applicable(pair: tuple[str, str]) -> tuple[str, str]:
    try:
        re.sub(pair[0], pair[1], "")
    except (re.error, IndexError) as error:
        raise ValueError(f"not a regular expression and its replacement: {error}") from error
    return pair


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Substitution = Annotated[tuple[str, str], AfterValidator(_applicable)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpeechSpec(_Strict):
    """How every utterance is levelled and framed by silence."""

    level_dbfs: float = Field(ge=-50, le=-15)
    lead_ms: int = Field(ge=40, le=300)
    tail_ms: int = Field(ge=40, le=300)


class BabbleSpec(_Strict):
    """Several talkers at once."""

    kind: Literal["babble"]
    snr_db: tuple[float, ...]
    bed_ms: int = Field(ge=15000)
    talkers: tuple[str, ...] = Field(min_length=6)
    lines: tuple[str, ...] = Field(min_length=1)


class StreetSpec(_Strict):
    """Shaped noise of road, engine and passing vehicles."""

    kind: Literal["street"]
    snr_db: tuple[float, ...]
    bed_ms: int = Field(ge=15000)


class AccentSpec(_Strict):
    """What an accent does to the phonemes."""

    native: bool
    language: Literal["en-us", "en-gb"]
    substitutions: tuple[Substitution, ...] = ()


class UtteranceSpec(_Strict):
    """One thing a caller says."""

    id: Name
    accent: Name
    speaker: str
    vocabulary: Literal["general", "digits", "names"]
    text: str = Field(min_length=1)
    spoken: str | None = None
    speed: float = Field(default=1.0, ge=0.5, le=2.0)


class Recipe(_Strict):
    """The whole file."""

    schema_version: Literal[1]
    seed: int = Field(ge=0)
    opus_bit_rate: int = Field(ge=16000, le=256000)
    licence: str
    speech: SpeechSpec
    noises: dict[Name, Annotated[BabbleSpec | StreetSpec, Field(discriminator="kind")]]
    accents: dict[Name, AccentSpec]
    utterances: tuple[UtteranceSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        seen: set[str] = set()
        for utterance in self.utterances:
            if utterance.accent not in self.accents:
                raise ValueError(f"{utterance.id}: accent {utterance.accent!r}; legal: {', '.join(self.accents)}")
            if utterance.id in seen:
                raise ValueError(f"{utterance.id}: stands twice; ids are unique")
            seen.add(utterance.id)
        if "clean" in self.noises:
            raise ValueError("noises: 'clean' is the absence of noise and cannot name one")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; ScenarioError names the file and the place in it."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(document)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "recipe"
        raise ScenarioError(f"{path}: {place}: {first['msg']} (found {str(first['input'])[:80]!r})") from error
