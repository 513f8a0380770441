"""Mozilla Common Voice: a TSV (path, sentence, accents, gender, age, client_id ...) beside the folder `clips`."""

from dataclasses import replace
from pathlib import Path

from harness.corpus.importing.items import UNKNOWN, Listing, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.rows import read_table
from harness.corpus.importing.table import open_table, read_rows
from harness.model.errors import ScenarioError

# The one taken where SOURCE is the release's folder; listed by how sure its transcripts are.
_TABLES = ("validated.tsv", "test.tsv", "dev.tsv", "train.tsv", "other.tsv")
_HALLMARK = {"client_id", "path", "sentence"}
_SPEAKER_DIGITS = 16


def find(source: Path) -> str | None:
    """Say why `source` is a release of Common Voice, or a table of one."""
    table = _table_in(source)
    return None if table is None else f"{table.name} has the columns client_id, path and sentence"


def read(options: SourceOptions) -> Listing:
    """Read the table; clips lie in `clips` beside it."""
    path = _table_in(options.source)
    if path is None:
        raise ScenarioError(f"{options.source}: no TSV with the columns {', '.join(sorted(_HALLMARK))}")
    listing = read_rows(path, open_table(path, options), options, ("clips", ""))
    # 128 digits of a hash: some of them are a name just as well.
    listing.items = [
        item if item.speaker == UNKNOWN else replace(item, speaker=f"cv-{item.speaker[:_SPEAKER_DIGITS]}")
        for item in listing.items
    ]
    return listing


def _table_in(source: Path) -> Path | None:
    candidates = [source] if source.is_file() else [source / name for name in _TABLES]
    return next((path for path in candidates if path.suffix == ".tsv" and path.is_file() and _is_release(path)), None)


def _is_release(path: Path) -> bool:
    try:
        return set(read_table(path).header) >= _HALLMARK
    except (UnusableError, OSError, LookupError):
        return False
