"""One clip of the corpus: its record and the rules its manifest entry must keep."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.corpus.conditions.names import CLEAN, NO_DISTORTION, NO_ROOM, WIDEBAND, condition_name
from harness.model.errors import ScenarioError

VOCABULARIES = ("general", "digits", "names")
GENERAL = "general"
# What a turn's record tells of its clip by name, beside the tags.
_SEGMENTS = ("room", "channel", "distortion", "condition", "domain", "sentence_id", "speaker")
# Tags on how a clip was made, not on what it is: where in the shipped bed its noise begins, and its SNR as stored.
OFFSET_TAG = "noise-offset-ms:"
STORED_SNR_TAG = "stored-snr-db:"
_NO_SEGMENTS = frozenset(tag.removesuffix(":") for tag in (OFFSET_TAG, STORED_SNR_TAG))
# Sentences that try an agent's endpointing; a scenario says them where it asks for them.
ENDPOINT_DOMAINS = frozenset({"long", "pause", "backchannel"})
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
    # None where nobody said: an imported recording's.
    native: bool | None
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
    # "none" or the room the voice was put into.
    room: str = NO_ROOM
    # "wideband" or what the voice went through: "phone", "g711-ulaw", "gsm", "opus-6k" ...
    channel: str = WIDEBAND
    # "none", "clipped", "low-level" ...
    distortion: str = NO_DISTORTION
    # What the sentence is about: orders, addresses, yes-no, hesitation ...
    domain: str = GENERAL
    # Shared by all clips of one sentence, whoever says it.
    sentence_id: str = ""
    # Parts of the transcript that must be right, whatever else is lost.
    entities: tuple[str, ...] = ()
    # Silences (start, end) built into the speech, for agents that answer too early.
    pauses_ms: tuple[tuple[float, float], ...] = ()
    # The manifest's folder; where the clip was loaded from, not part of what it is.
    root: Path = field(default=Path(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.sentence_id:
            object.__setattr__(self, "sentence_id", self.base_id)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the manifest holds it."""
        entry = asdict(self)
        del entry["root"]
        lists = {"tags": list(self.tags), "entities": list(self.entities), "pauses_ms": [*map(list, self.pauses_ms)]}
        return entry | lists

    @property
    def condition(self) -> str:
        """What was done to the voice, as `condition_name` spells it; "clean" where nothing was."""
        return condition_name(self.noise, self.snr_db, self.room, self.distortion, self.channel)

    @property
    def is_clean(self) -> bool:
        """Whether the voice is as it was recorded or synthesised."""
        return self.condition == CLEAN

    @property
    def segments(self) -> dict[str, str]:
        """What its turns are told apart by beyond a record's own fields; a tag "key:value" by its key."""
        tags = [(name, value if colon else "true") for name, colon, value in (tag.partition(":") for tag in self.tags)]
        told = {name: value for name, value in tags if name and name not in _NO_SEGMENTS}
        return told | {name: str(getattr(self, name)) for name in _SEGMENTS}

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


def _is_pause(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and 0 <= value[0] < value[1]


_NAME = _Rule("lower-case letters, digits and hyphens", _is_name)
_TEXT = _Rule("a text that is not empty", _is_text)
_TIME = _Rule("a number of milliseconds, 0 or more", lambda v: _is_number(v) and v >= 0)

_RULES: Mapping[str, _Rule] = {
    "id": _NAME,
    "path": _Rule("a path inside the corpus folder", _is_inside),
    "transcript": _TEXT,
    "accent": _NAME,
    "native": _Rule("true, false, or null where nobody said", lambda v: v is None or isinstance(v, bool)),
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
    "room": _NAME,
    "channel": _NAME,
    "distortion": _NAME,
    "domain": _NAME,
    "sentence_id": _NAME,
    "entities": _Rule("a list of texts", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    "pauses_ms": _Rule(
        "a list of [start, end] in milliseconds, start under end",
        lambda v: isinstance(v, list) and all(map(_is_pause, v)),
    ),
}
_OPTIONAL = frozenset({"tags", "room", "channel", "distortion", "domain", "sentence_id", "entities", "pauses_ms"})


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
    utterance = Utterance(**{**entry, **_frozen(entry)}, root=root)
    _check_together(utterance, where)
    return utterance


def _frozen(entry: dict[str, Any]) -> dict[str, Any]:
    """Fields that JSON holds as lists."""
    return {
        "tags": tuple(entry.get("tags", ())),
        "entities": tuple(entry.get("entities", ())),
        "pauses_ms": tuple((start, end) for start, end in entry.get("pauses_ms", ())),
    }


def _check_together(u: Utterance, where: str) -> None:
    """Rules that hold between fields."""
    if not u.speech_start_ms < u.speech_end_ms <= u.duration_ms:
        raise ScenarioError(
            f"{where}.speech_end_ms: {u.speech_end_ms!r}; legal: above speech_start_ms ({u.speech_start_ms!r}) and at "
            f"most duration_ms ({u.duration_ms!r})"
        )
    if (u.noise == CLEAN) != (u.snr_db is None):
        raise ScenarioError(
            f"{where}.snr_db: {u.snr_db!r} with noise {u.noise!r}; legal: null where noise is {CLEAN!r}, a number "
            "elsewhere"
        )
    if u.is_clean != (u.base_id == u.id):
        raise ScenarioError(
            f"{where}.base_id: {u.base_id!r}; legal: the entry's own id where its condition is {CLEAN!r} (no noise, "
            f"room, distortion or channel), another entry's id elsewhere (here {u.condition!r})"
        )
    samples = u.duration_ms * u.sample_rate / 1000
    if abs(samples - round(samples)) > 1e-6:
        raise ScenarioError(f"{where}.duration_ms: {u.duration_ms!r}; legal: a whole number of samples at sample_rate")
    _check_pauses(u, where)


def _check_pauses(u: Utterance, where: str) -> None:
    """Pauses follow one another and lie inside the speech."""
    before = u.speech_start_ms
    for start, end in u.pauses_ms:
        if start < before or end > u.speech_end_ms:
            raise ScenarioError(
                f"{where}.pauses_ms: [{start!r}, {end!r}]; legal: inside the speech ({u.speech_start_ms!r} to "
                f"{u.speech_end_ms!r}), in order, without overlap"
            )
        before = end
