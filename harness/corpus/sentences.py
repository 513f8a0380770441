"""What is said: a sentence's words, its known silences, and what in it must be understood."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
DOMAINS = (
    "orders",
    "addresses",
    "dates",
    "numbers",
    "names",
    "medical",
    "legal",
    "banking",
    "support",
    "yes-no",
    "correction",
    "hesitation",
    "backchannel",
    "long",
    "pause",
    "general",
)
# "<900>": a silence of 900 ms, with the spaces around it.
_SILENCE = re.compile(r"\s*<(\d+)>\s*")
# Shorter ones are what speech has anyway, and leave no room for how a word fades.
SHORTEST_SILENCE_MS = 150
_LONGEST_SILENCE_MS = 5000


class SentenceSpec(BaseModel):
    """One sentence of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name
    domain: Name = "general"
    vocabulary: Literal["general", "digits", "names"] = "general"
    text: str = Field(min_length=1)
    # What the synthesiser is given where the spelling of `text` misleads it; with the same silences.
    spoken: str | None = None
    entities: tuple[str, ...] = ()
    # Who says it, by accent; in other accents the voices take turns.
    voices: dict[Name, str] = Field(default_factory=dict)
    speed: float = Field(default=1.0, ge=0.5, le=2.0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not all(self.parts):
            raise ValueError(f"{self.id}: a silence must stand between words")
        if any(not SHORTEST_SILENCE_MS <= ms <= _LONGEST_SILENCE_MS for ms in self.silences_ms):
            raise ValueError(
                f"{self.id}: silences of {self.silences_ms} ms; legal: {SHORTEST_SILENCE_MS} to {_LONGEST_SILENCE_MS}"
            )
        if self.spoken is not None and silences_of(self.spoken) != self.silences_ms:
            raise ValueError(f"{self.id}: `spoken` must have the silences of `text`")
        for entity in self.entities:
            if entity not in self.transcript:
                raise ValueError(f"{self.id}: entity {entity!r} is not in the text")
        return self

    @property
    def transcript(self) -> str:
        """The words, without the marks of silences."""
        return _SILENCE.sub(" ", self.text).strip()

    @property
    def parts(self) -> tuple[str, ...]:
        """What is spoken between the silences."""
        return tuple(_SILENCE.sub("\n", self.spoken or self.text).split("\n"))

    @property
    def silences_ms(self) -> tuple[int, ...]:
        """The silences built in, in order."""
        return silences_of(self.text)


def silences_of(text: str) -> tuple[int, ...]:
    """Return the lengths of the silences marked in `text`, ms."""
    return tuple(int(ms) for ms in _SILENCE.findall(text))
