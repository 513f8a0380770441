"""Messages out of templates: fixed parts copied, and between them what is the call's own."""

from typing import Any

from harness.callers.plain.hot.jit import compiled
from harness.callers.plain.hot.layout import SLOT_BITS, Call, Cell, Piece
from harness.callers.plain.hot.text import copy, put_hex, tag_of


@compiled
def number_of(tables: Any, index: int) -> int:
    """Return the number a call is known by."""
    return int((tables.calls[index, Call.GENERATION] << SLOT_BITS) | index)


@compiled
def compose(tables: Any, index: int, message: int, to: Any, source: Any) -> int:
    """Write a message of a call into the row `to`; return its length. To and Contact are taken from `source`."""
    call = tables.calls[index]
    pieces = tables.pieces[call[Call.TEMPLATE], message]
    at, i = 0, 0
    while True:
        at = copy(to, at, tables.arena, pieces[i, 0], pieces[i, 1])
        kind = pieces[i, 2]
        if kind == Piece.END:
            return at
        if kind == Piece.NUMBER:
            at = put_hex(to, at, number_of(tables, index))
        elif kind == Piece.TAG:
            at = put_hex(to, at, tag_of(tables.cells[Cell.SECRET], number_of(tables, index)))
        elif kind == Piece.NAME:
            at = copy(to, at, tables.papers[call[Call.PAPER]], 0, call[Call.NAME_LENGTH])
        elif kind == Piece.TO:
            at = copy(to, at, source, call[Call.TO_AT], call[Call.TO_LENGTH])
        else:
            at = copy(to, at, source, call[Call.TARGET_AT], call[Call.TARGET_LENGTH])
        i += 1
