"""One clip of the corpus: its record and the rules its manifest entry must keep."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.model.errors import ScenarioError

VOCABULARIES = ("general", "digits", "names")
CLEAN = "clean"
# What Opus decodes to, and the rates telephony and speech models use.
SAMPLE_RATES = (8000, 16000, 24000, 48000)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip: what is said, by whom, in what noise, and where the speech lies in it (ms from the first sample)."""

    id: str
    # Relative to the manifest's folder.
    path: str
    # What is spoken, numbers in words; compared through the WER normaliser, never as it stands.
    transcript: str
    accent: str
    native: bool
    # The voice's name at its source.
    speaker: str
    # "clean" or a noise kind.
    noise: str
    # Active speech level over the noise's RMS; None where clean.
    snr_db: float | None
    # ITU-T P.56 method B, over full scale (RMS 1.0 = 0 dB). A noisy clip states its speech's level before mixing.
    speech_level_dbfs: float
    speech_start_ms: float
    speech_end_ms: float
    duration_ms: float
    sample_rate: int
    vocabulary: str
    # The clean entry it derives from; its own id where clean.
    base_id: str
    sha256: str
    licence: str
    tags: tuple[str, ...] = ()
    # The manifest's folder; where the clip was loaded from, not part of what it is.
    root: Path = field(default=Path(), compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the manifest holds it."""
        entry = {**asdict(self), "tags": list(self.tags)}
        del entry["root"]
        return entry

    @property
    def file(self) -> Path:
        """The clip's audio file."""
        return self.root / self.path

    @property
    def samples(self) -> int:
        """Length in samples at `sample_rate`."""
        return round(self.duration_ms * self.sample_rate / 1000)


@dataclass(frozen=True, slots=True)
class _Rule:
    legal: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]*", value) is not None


def _is_inside(value: Any) -> bool:
    return _is_text(value) and not value.startswith("/") and "\\" not in value and ".." not in value.split("/")


_NAME = _Rule("lower-case letters, digits and hyphens", _is_name)
_TEXT = _Rule("a text that is not empty", _is_text)
_TIME = _Rule("a number of milliseconds, 0 or more", lambda v: _is_number(v) and v >= 0)

_RULES: Mapping[str, _Rule] = {
    "id": _NAME,
    "path": _Rule("a path inside the corpus folder", _is_inside),
    "transcript": _TEXT,
    "accent": _NAME,
    "native": _Rule("true or false", lambda v: isinstance(v, bool)),
    "speaker": _TEXT,
    "noise": _NAME,
    "snr_db": _Rule("a number from -30 to 60, or null", lambda v: v is None or (_is_number(v) and -30 <= v <= 60)),
    "speech_level_dbfs": _Rule("a number from -80 to 0", lambda v: _is_number(v) and -80 <= v <= 0),
    "speech_start_ms": _TIME,
    "speech_end_ms": _TIME,
    "duration_ms": _Rule("a number of milliseconds above 0", lambda v: _is_number(v) and v > 0),
    "sample_rate": _Rule(
        "one of " + ", ".join(map(str, SAMPLE_RATES)), lambda v: isinstance(v, int) and v in SAMPLE_RATES
    ),
    "vocabulary": _Rule("one of " + ", ".join(VOCABULARIES), lambda v: v in VOCABULARIES),
    "base_id": _NAME,
    "sha256": _Rule("64 lower-case hexadecimal digits", lambda v: bool(re.fullmatch("[0-9a-f]{64}", str(v)))),
    "licence": _TEXT,
    "tags": _Rule("a list of texts", lambda v: isinstance(v, list) and all(map(_is_text, v))),
}
_OPTIONAL = frozenset({"tags"})


def parse_entry(entry: Any, place: str, root: Path) -> Utterance:
    """Turn one manifest entry into an Utterance whose file lies under `root`.

    `place` begins the message of the ScenarioError that a wrong entry raises.
    """
    if not isinstance(entry, dict):
        raise ScenarioError(f"{place}: must be an object with the fields {', '.join(_RULES)}")
    where = f"{place} ({entry['id']})" if isinstance(entry.get("id"), str) else place
    for name in entry:
        if name not in _RULES:
            raise ScenarioError(f"{where}.{name}: unknown field; legal: {', '.join(_RULES)}")
    for name, rule in _RULES.items():
        if name not in entry:
            if name in _OPTIONAL:
                continue
            raise ScenarioError(f"{where}.{name}: missing; legal: {rule.legal}")
        if not rule.accepts(entry[name]):
            raise ScenarioError(f"{where}.{name}: {entry[name]!r}; legal: {rule.legal}")
    _check_together(entry, where)
    return Utterance(**{**entry, "tags": tuple(entry.get("tags", ()))}, root=root)


def _check_together(entry: dict[str, Any], where: str) -> None:
    """Rules that hold between fields."""
    start, end, duration = entry["speech_start_ms"], entry["speech_end_ms"], entry["duration_ms"]
    if not start < end <= duration:
        raise ScenarioError(
            f"{where}.speech_end_ms: {end!r}; legal: above speech_start_ms ({start!r}) and at most duration_ms "
            f"({duration!r})"
        )
    is_clean = entry["noise"] == CLEAN
    if is_clean != (entry["snr_db"] is None):
        raise ScenarioError(
            f"{where}.snr_db: {entry['snr_db']!r} with noise {entry['noise']!r}; legal: null where noise is "
            f"{CLEAN!r}, a number elsewhere"
        )
    if is_clean != (entry["base_id"] == entry["id"]):
        raise ScenarioError(
            f"{where}.base_id: {entry['base_id']!r}; legal: the entry's own id where noise is {CLEAN!r}, "
            "another entry's id elsewhere"
        )
    if abs(duration * entry["sample_rate"] / 1000 - round(duration * entry["sample_rate"] / 1000)) > 1e-6:
        raise ScenarioError(f"{where}.duration_ms: {duration!r}; legal: a whole number of samples at sample_rate")
