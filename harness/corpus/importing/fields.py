"""Columns of a table as fields of an Item: which column is which, and what its texts mean."""

import re
from collections.abc import Mapping
from pathlib import Path

from harness.corpus.entry import VOCABULARIES
from harness.corpus.importing.items import UNKNOWN, Item, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.texts import one_line, slug

# Field of an Item: names its column may have, lower-case with underscores; the first one present is taken.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "path": (
        "path",
        "file",
        "filename",
        "file_name",
        "audio",
        "audio_path",
        "audio_file",
        "audio_filepath",
        "wav",
        "clip",
    ),
    "transcript": ("transcript", "transcription", "sentence", "text", "normalized_text", "words", "reference"),
    "id": ("id", "utt_id", "utterance_id", "utterance", "utt"),
    "speaker": ("speaker", "speaker_id", "spk", "client_id", "caller"),
    "accent": ("accent", "accents", "dialect"),
    "native": ("native", "is_native"),
    "gender": ("gender", "sex"),
    "age": ("age",),
    "licence": ("licence", "license"),
    "vocabulary": ("vocabulary",),
    "domain": ("domain",),
    "sentence": ("sentence_id",),
    "entities": ("entities",),
    "tags": ("tags",),
    "start": ("start", "start_s", "begin", "offset"),
    "end": ("end", "end_s", "stop"),
}
_NATIVE = {
    **dict.fromkeys(("yes", "y", "true", "1", "native", "l1"), True),
    **dict.fromkeys(("no", "n", "false", "0", "non-native", "nonnative", "l2"), False),
    **dict.fromkeys(("", "?", "unknown", "n/a", "na", "none", "null", "other"), None),
}
_NOTHING = frozenset({"", "?", "n/a", "na", "none", "null", "nan", "unknown", "other"})


def columns_of(header: list[str], mapped: Mapping[str, str]) -> dict[str, str]:
    """Return field -> column: as `mapped` (column -> field) says, else by the aliases."""
    by_alias = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in reversed(header)}
    chosen = {field: name for name, field in mapped.items() if name in header}
    for field, aliases in ALIASES.items():
        found = next(
            (by_alias[alias] for alias in aliases if alias in by_alias and by_alias[alias] not in mapped), None
        )
        if found is not None:
            chosen.setdefault(field, found)
    return chosen


def make_item(values: Mapping[str, str], *, name: str, file: Path, options: SourceOptions) -> Item:
    """Build the Item of one row: `values` by field, what is empty from the options. Raises UnusableError."""
    given = {field: text.strip() for field, text in values.items() if text.strip().lower() not in _NOTHING}
    accent, accent_tags = accent_of(values.get("accent", ""))
    tags = [f"{key}:{slug(given[key])}" for key in ("gender", "age") if slug(given.get(key, ""))]
    start, end = _seconds("start", given.get("start")), _seconds("end", given.get("end"))
    if end is not None and end <= (start or 0.0):
        raise UnusableError("wrong row", f"end {end:g} s is not after start {start or 0.0:g} s")
    return Item(
        name=name,
        file=file,
        transcript=one_line(values.get("transcript", "")) or None,
        label=given.get("id") or name,
        start_s=start,
        end_s=end,
        accent=options.accent if accent == UNKNOWN and options.accent else accent,
        native=_native(values.get("native", ""), options.native),
        speaker=one_line(given.get("speaker", "")) or options.speaker or UNKNOWN,
        licence=one_line(given.get("licence", "")) or options.licence,
        vocabulary=_vocabulary(given.get("vocabulary"), options.vocabulary),
        domain=slug(given.get("domain", "")) or options.domain,
        sentence=slug(given.get("sentence", "")) or None,
        entities=_several(given.get("entities", "")),
        tags=(*tags, *accent_tags, *_several(given.get("tags", "")), *options.tags),
    )


def accent_of(text: str) -> tuple[str, tuple[str, ...]]:
    """Return an accent's Name and, where that says less than the source did, the source's words as a tag.

    A remark in brackets is no part of the Name: "american (Alabama)" is american. Of several, as Common Voice has
    them, the first one names it.
    """
    words = one_line(text)
    if words.lower() in _NOTHING:
        return UNKNOWN, ()
    first = re.split(r"[,|;]", re.sub(r"\([^)]*\)|\[[^]]*\]", " ", words))[0]
    made = slug(first)[:60].strip("-") or UNKNOWN
    is_whole = slug(words) == made
    return made, () if is_whole else (f"accent-detail:{words}",)


def _native(text: str, default: bool | None) -> bool | None:
    word = text.strip().lower()
    if word not in _NATIVE:
        raise UnusableError("wrong row", f"native is {text.strip()!r}; legal: yes, no, or empty where nobody knows")
    return default if _NATIVE[word] is None else _NATIVE[word]


def _vocabulary(text: str | None, default: str) -> str:
    word = (text or default).lower()
    if word not in VOCABULARIES:
        raise UnusableError("wrong row", f"vocabulary is {text!r}; legal: {', '.join(VOCABULARIES)}")
    return word


def _seconds(field: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UnusableError("wrong row", f"{field} is {text!r}; legal: seconds") from None
    if not 0 <= value < 1e7:
        raise UnusableError("wrong row", f"{field} is {text!r}; legal: seconds, 0 or more")
    return value


def _several(text: str) -> tuple[str, ...]:
    return tuple(part for part in map(one_line, re.split(r"[;|]", text)) if part)
