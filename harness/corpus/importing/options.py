"""What the command line asks of an import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Channels of a stereo recording.
LEFT, RIGHT = "left", "right"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read a source, and what holds for every recording of which the source says nothing else."""

    source: Path
    # Paths of tables are relative to it, and no recording outside it is read.
    audio_root: Path
    # What is not looked into: the folder that is written to.
    out: Path
    licence: str | None = None
    accent: str | None = None
    native: bool | None = None
    speaker: str | None = None
    vocabulary: str = "general"
    domain: str = "general"
    tags: tuple[str, ...] = ()
    # Column -> field.
    columns: Mapping[str, str] = field(default_factory=dict)
    # Column -> values; rows that have others are left out.
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    encoding: str = "utf-8"
    # Where set, the folder that a file lies in names its "accent" or "speaker".
    folder_names: str | None = None


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What a worker needs to make a clip of a recording."""

    out: Path
    # A recording longer than this is no utterance.
    longest_s: float = 120.0
    # A call to be cut into utterances may be longer.
    longest_call_s: float = 3600.0
    # Which channel of a stereo file is the caller; None: their mean.
    channel: str | None = None
    # Cut the caller's side into utterances.
    is_call: bool = False
    pause_ms: int = 700
    # Keep this much before and after speech and no more; None: keep the recording's own times.
    trim_ms: int | None = None
    keep_untranscribed: bool = False
    prefix: str = ""
