"""What the user agent must know of a plain call that is plain no more."""

from collections.abc import Sequence
from typing import Any

from harness.callers.plain.hot.layout import DIGITS, NAME_BYTES, Call, Cell
from harness.callers.plain.hot.text import tag_of
from harness.callers.plain.templates import Template, branches_of, call_id_of
from harness.protocols.sip.resumption import History, Sent


def history_of(tables: Any, index: int, number: int, template: Template, name: str) -> History:
    """Return what the user agent must know of a call; `number` is the call's."""
    call: Sequence[int] = tables.calls[index].tolist()
    stem = bytes(tables.stem).decode()
    left_at_ns, interval_ns, again_at_ns = call[Call.LEFT], call[Call.INTERVAL], call[Call.RESEND_AT]
    bye_resent = call[Call.BYE_RESENT]
    pending = (again_at_ns, interval_ns)
    return History(
        uri=str(template.uri),
        flow=template.flow,
        call_id=call_id_of(stem, number, template.flow.local[0]),
        tag=f"{tag_of(int(tables.cells[Cell.SECRET]), number):0{DIGITS}x}",
        branches=branches_of(stem, number),
        invite=Sent(call[Call.INVITED], call[Call.RESENT] - bye_resent, *(() if left_at_ns else pending)),
        options=template.options(name),
        received=_received(tables, call),
        bye=Sent(left_at_ns, bye_resent, *pending) if left_at_ns else None,
    )


def _received(tables: Any, call: Sequence[int]) -> tuple[tuple[int, bytes], ...]:
    paper, begin, found = tables.papers[call[Call.PAPER]], NAME_BYTES, []
    for at_ns, _status, end in tables.kept[call[Call.PAPER], : call[Call.KEPT]].tolist():
        found.append((at_ns, paper[begin:end].tobytes()))
        begin = end
    return tuple(found)
