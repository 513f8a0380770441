"""A table of recordings: one row each, with named columns (path, transcript, and what else is known)."""

from collections.abc import Mapping
from pathlib import Path

from harness.corpus.importing.fields import ALIASES, columns_of, make_item
from harness.corpus.importing.items import Item, Listing, Refusal, UnusableError
from harness.corpus.importing.options import SourceOptions
from harness.corpus.importing.places import find_audio, relative_name
from harness.corpus.importing.rows import Row, Table, read_table
from harness.corpus.importing.texts import shown
from harness.model.errors import ScenarioError

ENDINGS = (".tsv", ".csv", ".psv", ".jsonl", ".ndjson", ".json")
_NAMES = ("manifest", "metadata", "transcripts", "index", "data")


def find(source: Path) -> str | None:
    """Say why `source` is a table of recordings, or holds one; None where it is not."""
    path = table_in(source)
    if path is None:
        return None
    return f"{path.name} has the columns {', '.join(_columns(path).values())}"


def table_in(source: Path) -> Path | None:
    """Return the table that `source` is or holds."""
    if source.is_file():
        return (
            source if source.suffix.lower() in ENDINGS and {"path", "transcript"} <= _columns(source).keys() else None
        )
    for path in sorted(source.iterdir()):
        is_named = path.stem.lower() in _NAMES and path.suffix.lower() in ENDINGS
        if is_named and path.is_file() and {"path", "transcript"} <= _columns(path).keys():
            return path
    return None


def _columns(path: Path) -> dict[str, str]:
    try:
        return columns_of(read_table(path).header, {})
    except (UnusableError, OSError, LookupError):
        return {}


def read(options: SourceOptions) -> Listing:
    """Read the table; a row that is wrong is refused by its line."""
    path = options.source if options.source.is_file() else table_in(options.source)
    if path is None:
        raise ScenarioError(f"{options.source}: no table with a header ({', '.join(ENDINGS)}); name the file itself")
    return read_rows(path, open_table(path, options), options, ("",))


def open_table(path: Path, options: SourceOptions) -> Table:
    """Read the table in `path`; ScenarioError where it is none at all."""
    try:
        return read_table(path, options.encoding)
    except UnusableError as error:
        raise ScenarioError(f"{path}: {error}") from error
    except (OSError, LookupError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error


def read_rows(path: Path, table: Table, options: SourceOptions, folders: tuple[str, ...]) -> Listing:
    """Make an Item of each row that the options ask for; recordings lie in one of `folders` of the audio root."""
    columns = _checked_columns(path, table, options)
    listing = Listing()
    seen: dict[tuple[Path, str, str], str] = {}
    for row in table.rows:
        place = f"{path.name} line {row.line}"
        if row.problem is None and not _is_wanted(row, options):
            listing.ignored.append(Refusal(_called(row, columns, place), "left out by --where"))
            continue
        try:
            item = _item(row, columns, place, options, folders)
        except UnusableError as error:
            listing.refusals.append(error.refusal(_called(row, columns, place)))
            continue
        key = (item.file, str(item.start_s), str(item.end_s))
        if key in seen:
            listing.refusals.append(Refusal(item.name, "named twice", f"{place} and {seen[key]}"))
            continue
        seen[key] = place
        listing.items.append(item)
    return listing


def _item(row: Row, columns: Mapping[str, str], place: str, options: SourceOptions, folders: tuple[str, ...]) -> Item:
    if row.problem is not None:
        raise row.problem
    values = {field: row.values.get(column, "") for field, column in columns.items()}
    if not values["path"].strip():
        raise UnusableError("wrong row", f"no {columns['path']}")
    file = find_audio(options.audio_root, values["path"].strip(), folders)
    name = relative_name(options.audio_root, file)
    try:
        item = make_item(values, name=name, file=file, options=options)
    except UnusableError as error:
        raise UnusableError(error.kind, f"{place}: {error.detail}") from error
    return item


def _is_wanted(row: Row, options: SourceOptions) -> bool:
    return all(row.values.get(column, "") in values for column, values in options.where.items())


def _called(row: Row, columns: Mapping[str, str], place: str) -> str:
    """Return what messages call a row: its path where it has one."""
    path = row.values.get(columns["path"], "").strip()
    return shown(path) if path else place


def _checked_columns(path: Path, table: Table, options: SourceOptions) -> dict[str, str]:
    for column in (*options.columns, *options.where):
        if column not in table.header:
            raise ScenarioError(f"{path}: no column {column!r}; legal: {', '.join(table.header)}")
    columns = columns_of(table.header, options.columns)
    for field in ("path", "transcript"):
        if field not in columns:
            raise ScenarioError(
                f"{path}: no column for {field}; it has {', '.join(table.header) or 'none'}; "
                f"--map COLUMN={field} names it (else it must be called {', '.join(ALIASES[field])})"
            )
    return columns
