"""What a source says of its recordings, before anything of it is measured."""

from dataclasses import dataclass, field
from pathlib import Path

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance as its source describes it."""

    # What messages call it: the file's path in the source, with the utterance's id where a file holds several.
    name: str
    file: Path
    # None where the source has none.
    transcript: str | None
    # What its id is made of.
    label: str
    # The stretch of the file that it is, in seconds; None: from its start, to its end.
    start_s: float | None = None
    end_s: float | None = None
    accent: str = UNKNOWN
    # None where nobody said.
    native: bool | None = None
    speaker: str = UNKNOWN
    licence: str | None = None
    vocabulary: str = "general"
    domain: str = "general"
    sentence: str | None = None
    entities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is not taken, and why: `kind` is a short phrase to count by, `detail` says the rest."""

    name: str
    kind: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """The whole reason."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


class UnusableError(Exception):
    """Why one recording cannot be taken; caught where its line is written."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail

    def refusal(self, name: str) -> Refusal:
        """Return it as a refusal of `name`."""
        return Refusal(name, self.kind, self.detail)


@dataclass(slots=True)
class Listing:
    """What a reader found in a source. Every file or row of it is in exactly one of the three lists."""

    items: list[Item] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    # Files that are no recordings: transcripts that were used, documents, hidden files.
    ignored: list[Refusal] = field(default_factory=list)
