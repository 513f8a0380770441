"""The corpus manifest: what each clip says, how it was made and where its speech begins and ends.

`manifest.json` stands beside the clips. It is read once, checked against the files (sha256) and turned into frozen
records; nothing later reads JSON. Every refusal names the manifest, the entry, the field and what is legal.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.corpus.entry import VOCABULARIES, Utterance, parse_entry
from harness.model.errors import ScenarioError

SCHEMA_VERSION = 2
# Version 1 knows no condition but noise; what it lacks has defaults.
READABLE_VERSIONS = (1, 2)
MANIFEST_NAME = "manifest.json"
# What a scenario may filter on.
SELECTABLE = (
    "accent",
    "noise",
    "native",
    "vocabulary",
    "snr_db",
    "room",
    "channel",
    "distortion",
    "condition",
    "domain",
    "speaker",
    "sentence_id",
)

__all__ = [
    "MANIFEST_NAME",
    "READABLE_VERSIONS",
    "SCHEMA_VERSION",
    "VOCABULARIES",
    "Corpus",
    "Utterance",
    "default_corpus_dir",
    "load_corpus",
    "write_manifest",
]


@dataclass(frozen=True)
class Corpus:
    """A checked set of clips. `utterances` keeps the manifest's order, so a seed chooses the same clip everywhere."""

    directory: Path
    # sha256 of manifest.json; since that holds every clip's hash, it names the whole corpus.
    sha256: str
    utterances: Mapping[str, Utterance]

    def legal_values(self) -> dict[str, list[Any]]:
        """Every value that `select` accepts, by field, sorted; None (clean) comes first."""
        legal: dict[str, list[Any]] = {
            name: sorted({getattr(u, name) for u in self.utterances.values()}, key=_order) for name in SELECTABLE
        }
        legal["ids"] = list(self.utterances)
        return legal

    def select(self, **filters: Iterable[Any] | None) -> list[Utterance]:
        """Clips that match every given list, in manifest order; a filter left out (None) matches all.

        Filters are the fields of SELECTABLE and `ids`. An unknown field or value, an empty list, or a combination that
        no clip has is a ScenarioError.
        """
        for name in filters:
            if name not in self._legal:
                raise ScenarioError(f"no clip is selected by {name!r}; legal: {', '.join(self._legal)}")
        wanted = {name: list(values) for name, values in filters.items() if values is not None}
        for name, values in wanted.items():
            self._check_values(name, values)
        chosen = [u for u in self.utterances.values() if _matches(u, wanted)]
        if not chosen:
            asked = ", ".join(f"{name}={values}" for name, values in wanted.items())
            raise ScenarioError(f"{self.directory / MANIFEST_NAME}: no clip has {asked} together")
        return chosen

    def clean_of(self, utterance: Utterance) -> Utterance:
        """Return the clean clip that this one derives from (itself, when it is clean)."""
        return self.utterances[utterance.base_id]

    def _check_values(self, name: str, values: list[Any]) -> None:
        legal = self._legal[name]
        unknown = [value for value in values if value not in legal]
        if unknown or not values:
            problem = f"unknown value {unknown[0]!r}" if unknown else "an empty list"
            raise ScenarioError(
                f"{self.directory / MANIFEST_NAME}: {problem} for {name}; legal: {', '.join(map(_spell, legal))}"
            )

    @cached_property
    def _legal(self) -> dict[str, list[Any]]:
        return self.legal_values()


def default_corpus_dir() -> Path:
    """$CALLQUAKE_CORPUS, or fixtures/audio of this checkout."""
    chosen = os.environ.get("CALLQUAKE_CORPUS")
    return Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "fixtures" / "audio"


def load_corpus(directory: Path | str | None = None, *, verify: bool = True) -> Corpus:
    """Read and check the corpus in `directory` (default: `default_corpus_dir()`).

    `verify=False` skips hashing the clips (`callquake` never does; the builder's `check` reports every bad clip
    itself). Raises ScenarioError.
    """
    root = Path(directory) if directory is not None else default_corpus_dir()
    manifest = root / MANIFEST_NAME
    raw = _read(manifest)
    entries = _entries(manifest, raw)
    utterances: dict[str, Utterance] = {}
    for index, entry in enumerate(entries):
        utterance = parse_entry(entry, f"{manifest}: utterances[{index}]", root)
        if utterance.id in utterances:
            raise ScenarioError(f"{manifest}: utterances[{index}].id: {utterance.id!r} stands twice; ids are unique")
        utterances[utterance.id] = utterance
    _check_families(manifest, utterances)
    if verify:
        for utterance in utterances.values():
            verify_clip(utterance)
    return Corpus(root, hashlib.sha256(raw).hexdigest(), MappingProxyType(utterances))


def write_manifest(directory: Path, utterances: Iterable[Utterance]) -> Path:
    """Write `directory`'s manifest as a whole or not at all; return its path. Equal entries give equal bytes."""
    document = {"schema_version": SCHEMA_VERSION, "utterances": [utterance.to_json() for utterance in utterances]}
    path = directory / MANIFEST_NAME
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def verify_clip(utterance: Utterance) -> None:
    """Compare the clip's bytes with its manifest entry; ScenarioError where they differ or the clip is missing."""
    place = f"{utterance.root / MANIFEST_NAME}: {utterance.id}"
    path = utterance.file
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ScenarioError(f"{place}.path: cannot read {path}: {error.strerror}") from error
    if found != utterance.sha256:
        raise ScenarioError(
            f"{place}.sha256: {path} has {found}, the manifest says {utterance.sha256}; "
            "the clip was changed or cut short: restore it, or rebuild with `python -m harness.corpus build`"
        )


def _read(manifest: Path) -> bytes:
    try:
        return manifest.read_bytes()
    except OSError as error:
        raise ScenarioError(
            f"{manifest}: cannot read the corpus manifest: {error.strerror}; name a folder that holds "
            f"{MANIFEST_NAME} (scenario, --corpus or $CALLQUAKE_CORPUS)"
        ) from error


def _entries(manifest: Path, raw: bytes) -> list[Any]:
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise ScenarioError(f"{manifest}: not JSON: {error}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    # True is 1 to `in`, and no version.
    if version not in READABLE_VERSIONS or isinstance(version, bool):
        legal = " and ".join(map(str, READABLE_VERSIONS))
        raise ScenarioError(f"{manifest}: schema_version: {version!r}; this callquake reads {legal}")
    entries = document.get("utterances")
    if not isinstance(entries, list) or not entries:
        raise ScenarioError(f"{manifest}: utterances: must be a list of at least one entry")
    return entries


def _check_families(manifest: Path, utterances: Mapping[str, Utterance]) -> None:
    """Refuse a derived clip that does not share words, voice and edges with the clean clip it names."""
    shared = [f.name for f in fields(Utterance) if f.name in _INHERITED]
    for utterance in utterances.values():
        place = f"{manifest}: {utterance.id}"
        base = utterances.get(utterance.base_id)
        if base is None or not base.is_clean:
            raise ScenarioError(f"{place}.base_id: {utterance.base_id!r} is not the id of a clean entry")
        for name in shared:
            if getattr(utterance, name) != getattr(base, name):
                raise ScenarioError(f"{place}.{name}: differs from its clean entry {base.id} ({getattr(base, name)!r})")
        # A room rings on.
        if utterance.duration_ms < base.duration_ms:
            raise ScenarioError(f"{place}.duration_ms: shorter than its clean entry {base.id} ({base.duration_ms!r})")


_INHERITED = frozenset(
    {"transcript", "accent", "native", "speaker", "vocabulary", "domain", "sentence_id", "entities"}
    | {"speech_start_ms", "speech_end_ms", "pauses_ms"}
)


def _matches(utterance: Utterance, wanted: Mapping[str, list[Any]]) -> bool:
    return all((utterance.id if name == "ids" else getattr(utterance, name)) in v for name, v in wanted.items())


def _order(value: Any) -> tuple[bool, Any]:
    return (value is not None, value)


def _spell(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
