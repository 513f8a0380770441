"""Rows as aligned columns of text."""

import unicodedata
from collections.abc import Collection, Sequence


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Return header and rows as lines whose columns line up; columns named in `right` are flushed right."""
    table = [header, *rows]
    widths = [max(_width(row[i]) for row in table) for i in range(len(header))]
    flush = [name in right for name in header]
    return ["  ".join(map(_cell, row, widths, flush)).rstrip() for row in table]


def _cell(text: str, width: int, is_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if is_right else text + space


def _width(text: str) -> int:
    """Cells of a terminal: East Asian wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )
