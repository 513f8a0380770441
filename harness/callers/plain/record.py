"""The CallRecord of a plain call as JSON: written once for all calls that are alike, and filled in call by call.

The text is cut out of a whole record made by the record's own class and codec, so that it has every field there is.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from json.encoder import encode_basestring_ascii
from typing import Any

from harness.callers.plain.hot.layout import CALL_WIDTH, Call, Goodbye
from harness.callers.plain.row import Row
from harness.model.clock import NS_PER_MS, monotonic_ns, ms_between
from harness.model.codec import to_json
from harness.model.plan import CallPlan, impairments_of
from harness.model.records import CallRecord, Cause, MediaStats, Outcome, SetupTimes
from harness.model.sip_facts import Bye, SipFacts

_MARK = "<\x01{}\x01>"
_BYES = {Goodbye.ANSWERED: Bye.ANSWERED, Goodbye.REFUSED: Bye.REFUSED, Goodbye.UNANSWERED: Bye.UNANSWERED}
_BYE_JSON = {int(kind): json.dumps(bye.value) for kind, bye in _BYES.items()}
_COMPLETED = tuple(json.dumps(value) for value in (Outcome.COMPLETED.value, Cause.NONE.value, ""))
# A member of an enum takes several times as long to index by as its number.
_STARTED, _INVITED, _ANSWERED, _LEFT, _ENDED = map(
    int, (Call.STARTED, Call.INVITED, Call.ANSWERED, Call.LEFT, Call.ENDED)
)
_KEPT, _STATUS, _RESENT, _FIRST_SIGN, _GOODBYE = map(
    int, (Call.KEPT, Call.STATUS, Call.RESENT, Call.FIRST_SIGN, Call.GOODBYE)
)
quote = encode_basestring_ascii


def _mark(name: str) -> Any:
    # Stands where a value of any type will; dataclasses do not look.
    return _MARK.format(name)


class RecordWriter:
    """Writes the records of calls that are alike."""

    def __init__(self, plan: CallPlan, worker: str) -> None:
        self._plan, self._worker = plan, worker
        self._text = _template(_blank(plan, worker))

    def write(
        self, row: Row, facts: Sequence[int], sip_call_id: str, reason: str, agent: str, end: Sequence[str] | None
    ) -> str:
        """Return the record. `facts`: a row of the tables' `facts`; `sip_call_id` to `end`, the latter three, are JSON.

        `end`: outcome, cause and detail; None = completed.
        The order of the values is that of the marks in the text, which `_template` has checked.
        """
        due, started, invited = row.due_at_ns, facts[_STARTED], facts[_INVITED]
        answered, left = facts[_ANSWERED], facts[_LEFT]
        # The last message kept is the 2xx.
        shown = [
            f'{{"status":{facts[at + 1]},"at_ms":{(facts[at] - invited) / NS_PER_MS!r}}}'
            for at in range(CALL_WIDTH, CALL_WIDTH + 2 * facts[_KEPT] - 2, 2)
        ]
        return self._text % (
            quote(row.call_id),
            row.ordinal,
            self._persona_json(row.persona),
            *(end or _COMPLETED),
            "null" if due is None else due,
            started,
            answered,
            left,
            "null" if due is None else (started - due) / NS_PER_MS,
            (answered - started) / NS_PER_MS,
            (answered - (started if due is None else due)) / NS_PER_MS,
            sip_call_id,
            facts[_STATUS],
            reason,
            agent,
            facts[_RESENT],
            ",".join(shown),
            (facts[_FIRST_SIGN] - invited) / NS_PER_MS,
            (answered - invited) / NS_PER_MS,
            (left - answered) / NS_PER_MS,
            _BYE_JSON[facts[_GOODBYE]],
            (facts[_ENDED] - left) / NS_PER_MS,
            "null" if row.story is None else row.story,
        )

    def write_lost(self, row: Row, started_at_ns: int, why: str) -> str:
        """Return the record of a call that was lost by a fault of ours."""
        plan, now_ns = row.plan(self._plan), monotonic_ns()
        started_at_ns = started_at_ns or row.due_at_ns or now_ns
        lost = replace(
            _blank(plan, self._worker),
            call_id=plan.call_id,
            index=plan.index,
            persona=plan.persona,
            outcome=Outcome.LOST,
            cause=Cause.GENERATOR_ERROR,
            detail=why,
            due_at_ns=row.due_at_ns,
            started_at_ns=started_at_ns,
            connected_at_ns=None,
            ended_at_ns=max(now_ns, started_at_ns),
            arrival_lateness_ms=None if row.due_at_ns is None else ms_between(row.due_at_ns, started_at_ns),
            setup=SetupTimes(),
            sip=SipFacts(transport="udp", media=False),
            story=row.story,
        )
        return json.dumps(to_json(lost), separators=(",", ":"))

    def _persona_json(self, persona: Sequence[str]) -> str:
        name, phone_number, region, accent, patience = map(quote, persona)
        return (
            f'{{"name":{name},"phone_number":{phone_number},"region":{region},"accent":{accent},"patience":{patience}}}'
        )


_ORDER = (
    "call_id", "index", "persona", "outcome", "cause", "detail", "due_at_ns", "started_at_ns", "connected_at_ns",
    "ended_at_ns", "arrival_lateness_ms", "signalling_ms", "total_ms", "sip_call_id", "status", "reason", "agent",
    "retransmissions", "provisionals", "request_delay_ms", "answer_delay_ms", "session_ms", "bye",
    "disconnect_delay_ms", "story",
)  # fmt: skip


def _blank(plan: CallPlan, worker: str) -> CallRecord:
    sip = SipFacts(
        transport="udp",
        call_id=_mark("sip_call_id"),
        status=_mark("status"),
        reason=_mark("reason"),
        agent=_mark("agent"),
        retransmissions=_mark("retransmissions"),
        provisionals=(_mark("provisionals"),),
        request_delay_ms=_mark("request_delay_ms"),
        answer_delay_ms=_mark("answer_delay_ms"),
        session_ms=_mark("session_ms"),
        bye=_mark("bye"),
        disconnect_delay_ms=_mark("disconnect_delay_ms"),
        media=False,
    )
    return CallRecord(
        call_id=_mark("call_id"),
        index=_mark("index"),
        worker=worker,
        caller=plan.caller,
        persona=_mark("persona"),
        outcome=_mark("outcome"),
        cause=_mark("cause"),
        detail=_mark("detail"),
        transport=plan.target.transport,
        codec=None,
        due_at_ns=_mark("due_at_ns"),
        started_at_ns=_mark("started_at_ns"),
        connected_at_ns=_mark("connected_at_ns"),
        ended_at_ns=_mark("ended_at_ns"),
        arrival_lateness_ms=_mark("arrival_lateness_ms"),
        setup=SetupTimes(queue_ms=0.0, signalling_ms=_mark("signalling_ms"), total_ms=_mark("total_ms")),
        greeting_ms=None,
        turns_planned=0,
        turns_answered=0,
        media=MediaStats(),
        impairments=impairments_of(plan),
        sip=sip,
        target=plan.target.name,
        story=_mark("story"),
    )


def _template(blank: CallRecord) -> str:
    """Return the record's text with %s for each mark."""
    text = json.dumps(to_json(blank), separators=(",", ":")).replace("%", "%%")
    begin, end = (json.dumps(part)[1:-1] for part in ("<\x01", "\x01>"))
    pieces = text.split(f'"{begin}')
    names = [piece.partition(f'{end}"')[0] for piece in pieces[1:]]
    if tuple(names) != _ORDER:
        raise AssertionError(f"the record's fields stand in another order than they are filled in: {names}")
    return pieces[0] + "".join("%s" + piece.partition(f'{end}"')[2] for piece in pieces[1:])
