"""A file of calls to its rows: CSV with a header, JSON lines or a JSON list, in UTF-8 or UTF-16."""

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.model.errors import ScenarioError

# Spreadsheets write UTF-16, and say so by a mark at the begin.
_MARKS_OF_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a CSV or of JSON lines, one item of a JSON list."""

    # Line, from 1; of a list the item.
    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    # Why there are no values; "" = there are.
    why_not: str = ""


def read_text(path: Path) -> str:
    """Return a file's text; raises ScenarioError naming the line that is in another encoding."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: cannot read the calls: {error.strerror}") from error
    is_utf16 = raw.startswith(_MARKS_OF_UTF16)
    try:
        return raw.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        legal = f"UTF-8, or UTF-16 with its mark, like: iconv -f LATIN1 -t UTF-8 {path.name}"
        raise ScenarioError(f"{path}:{line}: no {'UTF-16' if is_utf16 else 'UTF-8'} text; legal: {legal}") from error


def rows_of(path: Path, text: str) -> list[Row]:
    """Return the rows of a file's text; raises ScenarioError where it has none, or none of them can be read."""
    is_json = text.lstrip()[:1] in {"{", "["}
    rows = list(_json_rows(path, text) if is_json else _csv_rows(path, text))
    if not rows:
        raise ScenarioError(f"{path}: no calls; legal: a CSV file with a header, or one JSON object a line")
    if all(row.why_not for row in rows):
        legal = "one JSON object a line, or a list of them"
        raise ScenarioError(f"{path}:{rows[0].number}: {rows[0].why_not}; legal: {legal}")
    return rows


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text)
        except ValueError as error:
            raise ScenarioError(f"{path}: not JSON: {error}") from None
        yield from (_row(i, item) for i, item in enumerate(items, 1))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield _row(number, json.loads(line))
            except ValueError as error:
                yield Row(number, why_not=f"no JSON: {error}")


def _row(number: int, item: Any) -> Row:
    return Row(number, item) if isinstance(item, dict) else Row(number, why_not="no JSON object")


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    # Python's reader refuses them altogether.
    text = text.replace("\0", "")
    head = text[:20_000]
    try:
        dialect: Any = csv.Sniffer().sniff(head.splitlines()[0] if head else "", delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    reader = csv.DictReader(io.StringIO(text), dialect=dialect)
    try:
        if not reader.fieldnames:
            raise ScenarioError(f"{path}: no header line; legal: the names of the columns in the first line")
        for row in reader:
            yield Row(reader.line_num, row)
    except csv.Error as error:
        raise ScenarioError(f"{path}:{reader.line_num + 1}: no CSV: {error}; is a quotation mark left open?") from error
