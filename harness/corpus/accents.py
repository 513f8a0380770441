"""Accents: who speaks, and what a first language does to the sounds of English.

A rule is a regular expression over a phoneme string and what it becomes. Rules act in order, all of them, always: what
comes out is a synthetic accent, the transfers that phonology describes and nothing of a person's habits.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _is_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class Rule(_Strict):
    """One transfer, with a word in which it is heard: `after` is what all rules of the accent make of `before`."""

    pattern: Annotated[str, AfterValidator(_is_pattern)] = Field(alias="from", min_length=1)
    replacement: str = Field(alias="to")
    what: str = Field(min_length=1)
    word: str = Field(min_length=1)
    before: str = Field(min_length=1)
    after: str = Field(min_length=1)

    @model_validator(mode="after")
    def _is_applicable(self) -> Self:
        try:
            re.sub(self.pattern, self.replacement, self.before)
        except (re.error, IndexError) as error:
            raise ValueError(f"{self.replacement!r} does not fit {self.pattern!r}: {error}") from error
        return self


class AccentSpec(_Strict):
    """One accent: its voices, the English it starts from, and its rules with where they are described."""

    native: bool
    language: Literal["en-us", "en-gb"]
    speakers: tuple[str, ...] = Field(min_length=1)
    source: str = ""
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _rules_have_a_source(self) -> Self:
        if self.rules and not self.source:
            raise ValueError("source: missing; rules must say where they are described")
        return self


def with_accent(phonemes: str, rules: Iterable[Rule]) -> str:
    """Apply an accent's rules in order to a phoneme string."""
    for rule in rules:
        phonemes = re.sub(rule.pattern, rule.replacement, phonemes)
    return phonemes
