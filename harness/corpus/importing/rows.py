"""Tables of other people: TSV, CSV and JSON lines, read so that one bad row costs one row.

A reader that follows CSV's quoting to the letter lets one stray quote swallow the rest of the file. Here a quoted cell
may hold line breaks, but where no closing quote comes within a few lines the row is refused and reading goes on at the
next line. In tab-separated files a line is a row, always.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.corpus.importing.items import UnusableError
from harness.corpus.importing.texts import decode_text

# A quoted cell of a sentence does not go over more lines than this.
_MOST_LINES = 5
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column; or what is wrong with it."""

    line: int
    values: dict[str, str] = field(default_factory=dict)
    problem: UnusableError | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns and rows."""

    header: list[str]
    rows: list[Row]


def read_table(path: Path, encoding: str = "utf-8", header: Sequence[str] | None = None) -> Table:
    """Read the table in `path`; `header` names its columns where the file itself does not. Raises UnusableError."""
    lines = _lines(path.read_bytes(), encoding)
    if path.suffix.lower() in _JSON_ENDINGS:
        return _json_table(lines)
    if not lines:
        return Table(list(header or ()), [])
    first = lines[0]
    if isinstance(first, UnusableError):
        raise first
    delimiter = delimiter_of(first)
    rows = _split_lines(lines, delimiter)
    names = list(header) if header is not None else _header(next(rows, (1, []))[1])
    return Table(names, [_row(line, cells, names) for line, cells in rows])


def _header(cells: list[str] | UnusableError) -> list[str]:
    if isinstance(cells, UnusableError):
        raise cells
    return [cell.strip() for cell in cells]


def delimiter_of(line: str) -> str:
    """Return the delimiter of a table whose first line is `line`: one that texts hardly hold, or the most frequent."""
    rare = next((mark for mark in "\t|" if mark in line), None)
    return rare or max(",;", key=line.count)


def _lines(raw: bytes, encoding: str) -> list[str | UnusableError]:
    """Return the lines, each decoded by itself, so that one wrong byte costs one line."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or encoding.lower().replace("-", "").startswith(("utf16", "utf32")):
        return list(decode_text(raw, encoding).splitlines())
    lines: list[str | UnusableError] = []
    for line in raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        try:
            lines.append(line.decode(encoding))
        except UnicodeDecodeError as error:
            problem = f"byte 0x{line[error.start]:02x} is not {encoding}; --encoding names another"
            lines.append(UnusableError("row cannot be read", problem))
    while lines and lines[-1] == "":
        lines.pop()
    return lines


def _split_lines(lines: list[str | UnusableError], delimiter: str) -> Iterator[tuple[int, list[str] | UnusableError]]:
    """Yield the number of each row's first line, and its cells or what is wrong."""
    at = 0
    while at < len(lines):
        line = lines[at]
        count = 1
        if isinstance(line, UnusableError):
            yield at + 1, line
        elif line.strip():
            if delimiter == "\t":
                yield at + 1, [_unquoted(cell) for cell in line.split("\t")]
            else:
                cells, count = _quoted(lines, at, delimiter)
                yield at + 1, cells
        at += count


def _quoted(lines: list[str | UnusableError], at: int, delimiter: str) -> tuple[list[str] | UnusableError, int]:
    """Parse the row that begins at line `at`; return it and how many lines it takes."""
    text = ""
    for count in range(1, _MOST_LINES + 1):
        line = lines[at + count - 1] if at + count <= len(lines) else None
        if not isinstance(line, str):
            break
        text += line + "\n"
        try:
            rows = list(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                return UnusableError("wrong row", f"{error}"), 1
            continue
        return rows[0] if rows else [""], count
    return UnusableError("wrong row", "a quote is opened and not closed"), 1


def _unquoted(cell: str) -> str:
    """Take a cell's quotes off where it is quoted as CSV would; in tab-separated files most are not."""
    inner = cell[1:-1]
    is_quoted = len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def _row(line: int, cells: list[str] | UnusableError, names: list[str]) -> Row:
    if isinstance(cells, UnusableError):
        return Row(line, problem=cells)
    if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
        problem = f"{len(cells)} cells under {len(names)} columns; a text that holds the delimiter wants quotes"
        return Row(line, problem=UnusableError("wrong row", problem))
    return Row(line, dict(zip(names, cells, strict=False)))


def _json_table(lines: list[str | UnusableError]) -> Table:
    rows: list[Row] = []
    header: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if isinstance(line, UnusableError):
            rows.append(Row(number, problem=line))
            continue
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.append(Row(number, problem=UnusableError("wrong row", f"not JSON: {error}")))
            continue
        if not isinstance(entry, dict):
            rows.append(Row(number, problem=UnusableError("wrong row", "not a JSON object; each line must be one")))
            continue
        values = {str(name): "" if value is None else _cell(value) for name, value in entry.items()}
        header |= values
        rows.append(Row(number, values))
    return Table(list(header), rows)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ";".join(map(str, value))
    return str(value)
