"""The recipe of a corpus: which words, voices, accents and conditions it is built from (YAML, checked on reading)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.corpus.accents import AccentSpec
from harness.corpus.conditions.names import CLEAN
from harness.corpus.conditions.room_spec import RoomSpec
from harness.corpus.conditions.specs import BabbleSpec, ConditionLibrary, ConditionSpec, DistortionSpec, NoiseSpec
from harness.corpus.sentences import Name, SentenceSpec
from harness.model.errors import ScenarioError

SCHEMA_VERSION = 2
# What may stand in a file of its own, named where the block would be.
_OWN_FILES = ("accents", "sentences")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpeechSpec(_Strict):
    """How every utterance is levelled and framed by silence."""

    level_dbfs: float = Field(ge=-50, le=-15)
    lead_ms: int = Field(ge=40, le=300)
    tail_ms: int = Field(ge=40, le=300)


class ShippedBlock(_Strict):
    """Some sentences, in every accent or one each, in every condition or one each; clean is always there."""

    # Of these three one is given: by id, by domain, or all that no other block names.
    sentences: tuple[Name, ...] = ()
    domains: tuple[Name, ...] = ()
    rest: bool = False
    # Names, "all", or "one": the accents take turns, but a sentence with `voices` is said by those.
    accents: tuple[Name, ...] | Literal["all", "one"]
    conditions: tuple[Name, ...] = ()
    # "one": the conditions take turns by sentence.
    each: Literal["all", "one"] = "all"

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if sum(map(bool, (self.sentences, self.domains, self.rest))) != 1:
            raise ValueError("legal: one of sentences, domains, rest")
        return self


class Recipe(_Strict):
    """The whole file."""

    schema_version: Literal[2]
    seed: int = Field(ge=0)
    opus_bit_rate: int = Field(ge=16000, le=256000)
    licence: str = Field(min_length=1)
    speech: SpeechSpec
    accents: dict[Name, AccentSpec] = Field(min_length=1)
    sentences: tuple[SentenceSpec, ...] = Field(min_length=1)
    noises: dict[Name, NoiseSpec] = Field(default_factory=dict)
    rooms: dict[Name, RoomSpec] = Field(default_factory=dict)
    distortions: dict[Name, DistortionSpec] = Field(default_factory=dict)
    conditions: tuple[ConditionSpec, ...] = ()
    shipped: tuple[ShippedBlock, ...] = Field(min_length=1)

    @property
    def library(self) -> ConditionLibrary:
        """What the names in the conditions mean."""
        return ConditionLibrary(noises=self.noises, rooms=self.rooms, distortions=self.distortions)

    def condition(self, name: str) -> ConditionSpec:
        """Return the condition of that name."""
        return next(condition for condition in self.conditions if condition.name == name)

    @model_validator(mode="after")
    def _conditions_are_known(self) -> Self:
        _unique("conditions", (condition.name for condition in self.conditions))
        library = self.library
        for condition in self.conditions:
            library.check(condition)
        return self

    @model_validator(mode="after")
    def _sentences_are_said_by_who_is_there(self) -> Self:
        _unique("sentences", (sentence.id for sentence in self.sentences))
        for sentence in self.sentences:
            for accent, speaker in sentence.voices.items():
                _known(f"{sentence.id}: accent", (accent,), self.accents)
                _known(f"{sentence.id}: speaker of {accent}", (speaker,), self.accents[accent].speakers)
        return self

    @model_validator(mode="after")
    def _talkers_are_no_callers(self) -> Self:
        callers = {speaker for accent in self.accents.values() for speaker in accent.speakers}
        for name, noise in self.noises.items():
            both = sorted(callers & set(noise.talkers)) if isinstance(noise, BabbleSpec) else []
            if both:
                raise ValueError(f"noises.{name}: {both[0]} is a caller and cannot be a talker in the background, too")
        return self

    @model_validator(mode="after")
    def _shipped_is_there(self) -> Self:
        names = [condition.name for condition in self.conditions if not condition.is_clean]
        for index, block in enumerate(self.shipped):
            place = f"shipped.{index}"
            _known(f"{place}: sentence", block.sentences, [sentence.id for sentence in self.sentences])
            _known(f"{place}: domain", block.domains, {sentence.domain for sentence in self.sentences})
            _known(f"{place}: condition", block.conditions, names)
            if not isinstance(block.accents, str):
                _known(f"{place}: accent", block.accents, self.accents)
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; ScenarioError names the file and the place in it."""
    document = _read(path)
    if isinstance(document, dict):
        if document.get("schema_version") == 1:
            raise ScenarioError(
                f"{path}: schema_version: 1; this callquake builds recipes of version {SCHEMA_VERSION}, which have "
                "sentences, conditions and what is shipped (docs/corpus.md)"
            )
        for name in _OWN_FILES:
            if isinstance(document.get(name), str):
                document[name] = _read(path.parent / document[name])
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "recipe"
        raise ScenarioError(f"{path}: {place}: {first['msg']} (found {str(first['input'])[:80]!r})") from error


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen or name == CLEAN:
            raise ValueError(f"{what}: {name!r} " + ("stands twice" if name in seen else "is always there"))
        seen.add(name)


def _known(what: str, names: Iterable[str], legal: Iterable[str]) -> None:
    legal = list(legal)
    for name in names:
        if name not in legal:
            raise ValueError(f"{what} {name!r}; legal: {', '.join(sorted(legal))}")
