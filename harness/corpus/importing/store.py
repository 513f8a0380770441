"""What an import leaves: manifest.json (the corpus), import.json (what became of each file); while it runs, a journal.

import.json is `{"schema_version": 1, "imports": [...]}`, one import a source; its `files` say for each file its hash,
what was asked of it, and for each utterance in it what became of it. A folder may hold several imports; running one
again replaces its part and leaves the others.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.corpus.entry import Utterance
from harness.corpus.importing.clip_job import Done, Outcome
from harness.corpus.importing.items import Refusal
from harness.corpus.manifest import MANIFEST_NAME, load_corpus, write_manifest
from harness.model.errors import ScenarioError

REPORT_NAME = "import.json"
JOURNAL_NAME = "import.journal"
SCHEMA_VERSION = 1


@dataclass(slots=True)
class ImportRecord:
    """One source's part of the folder."""

    source: str
    layout: str
    why: str
    licence: str | None
    is_finished: bool = False
    # (file's name, fingerprint) -> what became of it; in the order of the source.
    files: dict[tuple[str, str], Done] = field(default_factory=dict)
    # What the reader itself refused or passed over.
    refused: list[Refusal] = field(default_factory=list)
    ignored: list[Refusal] = field(default_factory=list)

    def outcomes(self) -> Iterator[Outcome]:
        """Every utterance's outcome."""
        for done in self.files.values():
            yield from done.outcomes

    def to_json(self) -> dict[str, Any]:
        """Return the record as import.json has it; entries stand in the manifest."""
        return {
            "source": self.source,
            "layout": self.layout,
            "why": self.why,
            "licence": self.licence,
            "finished": self.is_finished,
            "counts": count_by_status(self),
            "files": [_file_json(name, asked, done) for (name, asked), done in self.files.items()],
            "refused": [{"name": r.name, "kind": r.kind, "reasons": [r.reason]} for r in self.refused],
            "ignored": [{"name": r.name, "reason": r.reason} for r in self.ignored],
        }


def count_by_status(record: ImportRecord) -> dict[str, int]:
    """Utterances and files by what became of them."""
    counts = {
        "imported": 0,
        "doubtful": 0,
        "untranscribed": 0,
        "refused": len(record.refused),
        "ignored": len(record.ignored),
    }
    for outcome in record.outcomes():
        counts[outcome.status] += 1
    return counts


class Store:
    """The folder that is written to."""

    def __init__(self, out: Path, others: list[ImportRecord], entries: Mapping[str, dict[str, Any]]) -> None:
        self._out = out
        self._others = others
        self._entries = entries
        self._journal = out / JOURNAL_NAME

    @classmethod
    def open(cls, out: Path) -> "Store":
        """Make or read the folder. Raises ScenarioError where it holds a corpus that no import made."""
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ScenarioError(f"--out {out}: cannot be made: {error.strerror}") from error
        report, manifest = out / REPORT_NAME, out / MANIFEST_NAME
        if manifest.exists() and not report.exists():
            raise ScenarioError(f"--out {out}: holds a corpus that no import made; name another folder")
        entries = {}
        if manifest.exists():
            entries = {clip.id: clip.to_json() for clip in load_corpus(out, verify=False).utterances.values()}
        return cls(out, list(_read_report(report, entries)) if report.exists() else [], entries)

    def earlier(self, source: str) -> dict[tuple[str, str], Done]:
        """Return what is known of `source`'s files: from the last import of it, and from one that was cut off."""
        known: dict[tuple[str, str], Done] = {}
        for record in self._others:
            if record.source == source:
                known |= record.files
        for line in _journal_lines(self._journal):
            if line["source"] == source:
                known[line["name"], line["asked"]] = _done(line, {})
        return known

    def recordings_of_others(self, source: str) -> dict[str, str]:
        """Return the hashes of other sources' recordings that are in the corpus, with what they call them."""
        return {
            done.sha256: f"{name} of {record.source}"
            for record in self._others
            if record.source != source
            for (name, _), done in record.files.items()
            if done.sha256 is not None and any(outcome.entry is not None for outcome in done.outcomes)
        }

    def ids_of_others(self, source: str) -> dict[str, str]:
        """Return the ids that other sources have, with what they call them."""
        others = (record for record in self._others if record.source != source)
        return {
            outcome.id: f"{outcome.name} of {record.source}"
            for record in others
            for outcome in record.outcomes()
            if outcome.status in ("imported", "doubtful") and outcome.id is not None
        }

    def note(self, source: str, key: tuple[str, str], done: Done) -> None:
        """Keep one result at once, so that an import which is killed can be taken up again."""
        line = {"source": source} | _file_json(*key, done, with_entries=True)
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def finish(self, record: ImportRecord) -> int:
        """Write manifest and report, remove what no entry names any more; return how many clips the manifest has.

        A manifest cannot be empty: where no clip is left, there is none.
        """
        records = [*(other for other in self._others if other.source != record.source), record]
        entries = [
            outcome.entry for one in records for outcome in one.outcomes() if outcome.status in ("imported", "doubtful")
        ]
        clips = [_utterance(entry, self._out) for entry in entries if entry is not None]
        if clips:
            write_manifest(self._out, clips)
        else:
            (self._out / MANIFEST_NAME).unlink(missing_ok=True)
        document = {"schema_version": SCHEMA_VERSION, "imports": [one.to_json() for one in records]}
        _write_whole(self._out / REPORT_NAME, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        self._journal.unlink(missing_ok=True)
        kept = {outcome.entry["path"] for one in records for outcome in one.outcomes() if outcome.entry is not None}
        for entry in self._entries.values():
            if entry["path"] not in kept and "imported" in entry["tags"]:
                (self._out / entry["path"]).unlink(missing_ok=True)
        return len(clips)


def _utterance(entry: dict[str, Any], root: Path) -> Utterance:
    lists = {name: tuple(entry[name]) for name in ("tags", "entities")}
    return Utterance(**{**entry, **lists, "pauses_ms": ()}, root=root)


def _file_json(name: str, asked: str, done: Done, *, with_entries: bool = False) -> dict[str, Any]:
    utterances = []
    for outcome in done.outcomes:
        one = {key: value for key, value in asdict(outcome).items() if value is not None and key != "entry"}
        # Audio that is in no manifest is known from here alone.
        if outcome.entry is not None and (with_entries or outcome.status == "untranscribed"):
            one["entry"] = outcome.entry
        utterances.append(one)
    return {"name": name, "sha256": done.sha256, "asked": asked, "utterances": utterances}


def _read_report(path: Path, entries: Mapping[str, dict[str, Any]]) -> Iterator[ImportRecord]:
    try:
        document = json.loads(path.read_bytes())
        if document["schema_version"] != SCHEMA_VERSION:
            raise ScenarioError(f"{path}: schema_version: {document['schema_version']!r}; legal: {SCHEMA_VERSION}")
        for one in document["imports"]:
            record = ImportRecord(one["source"], one["layout"], one["why"], one["licence"], one["finished"])
            record.files = {(line["name"], line["asked"]): _done(line, entries) for line in one["files"]}
            record.refused = [
                Refusal(r["name"], r["kind"], r["reasons"][0].removeprefix(r["kind"])[2:]) for r in one["refused"]
            ]
            record.ignored = [Refusal(r["name"], r["reason"]) for r in one["ignored"]]
            yield record
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ScenarioError(f"{path}: no report of an import ({error!r}); remove it to begin anew") from error


def _done(line: Mapping[str, Any], entries: Mapping[str, dict[str, Any]]) -> Done:
    outcomes = []
    for one in line["utterances"]:
        entry = one.get("entry") or (entries.get(one.get("id", "")) if one["status"] != "refused" else None)
        rest = {key: value for key, value in one.items() if key not in ("reasons", "entry")}
        outcomes.append(Outcome(**rest, reasons=tuple(one["reasons"]), entry=entry))
    # Where the manifest has lost an entry, the file is done again.
    is_whole = all(outcome.entry is not None for outcome in outcomes if outcome.status != "refused")
    return Done(line["sha256"] if is_whole else None, tuple(outcomes))


def _journal_lines(path: Path) -> Iterable[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            # The last line of an import that was killed while it wrote.
            continue
    return found


def _write_whole(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
