"""Plain calls without a socket or a clock: rows in, records out, and what is not plain given to the user agent."""

import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np

from harness.callers.plain.handover import history_of
from harness.callers.plain.hot import machine
from harness.callers.plain.hot.compose import compose, number_of
from harness.callers.plain.hot.layout import (
    DIGITS,
    MOST_SENT,
    NAME_BYTES,
    SLOT_BITS,
    Call,
    Cell,
    Goodbye,
    Message,
    State,
    Told,
    new_tables,
)
from harness.callers.plain.record import RecordWriter, quote
from harness.callers.plain.row import Row
from harness.callers.plain.templates import Template, TemplateStore
from harness.callers.sip import BYE_WAIT_S
from harness.callers.sip_begun import Begun
from harness.media import sockaddr
from harness.model.clock import NS_PER_MS, NS_PER_S
from harness.model.plan import CallPlan
from harness.protocols.sip.user_agent import UserAgent

Address = tuple[str, int]
# Outcome, cause and detail of a call.
End = tuple[str, str, str]

_WORDS_KEPT = 1000
_logger = logging.getLogger(__name__)
_WAITING_FOR_ANSWER = frozenset({State.CALLING, State.PROCEEDING, State.LEAVING, State.ABANDONED})
# Each call comes by here: a member of an enum takes several times as long as its number.
_CONNECTED, _ENDED, _HANDED, _FOREIGN, _DUE = map(
    int, (Told.CONNECTED, Told.ENDED, Told.HANDED, Told.FOREIGN, Told.DUE)
)
_COLUMNS = tuple(
    map(int, (Call.GENERATION, Call.PAPER, Call.REASON_AT, Call.REASON_LENGTH, Call.AGENT_AT, Call.AGENT_LENGTH))
)
_LAST_SENT = {int(State.CALLING): Message.INVITE, int(State.UP): Message.ACK, int(State.LEAVING): Message.BYE}


class Listener(Protocol):
    """What is done with what happens to plain calls."""

    def on_plain_connected(self, call_id: str, at_ns: int, setup_ms: float) -> None:
        """Take a milestone."""

    def on_plain_ended(self, call_id: str, record: str) -> None:
        """Take a record, JSON."""

    def on_plain_due(self, plan: CallPlan, due_at_ns: int | None) -> None:
        """Begin a call that is due and may not be plain."""

    def on_plain_handed(self, plan: CallPlan, due_at_ns: int | None, begun: Begun) -> None:
        """Go on with a call that is plain no more."""


class Desk:
    """Calls over one socket. After any step of theirs: `take_told`, then `agent`'s outputs and events."""

    def __init__(
        self,
        agent: UserAgent,
        listener: Listener,
        *,
        calls: int,
        papers: int,
        now_ns: int,
        deliver: Callable[[bytes, Address, int], None],
        send: Callable[[bytes, Address], object],
        stem: str | None = None,
    ) -> None:
        """`deliver` gives a datagram to `agent`, `send` sends one that the kernel refused before.

        `stem`: 16 hexadecimal digits that begin all Call-IDs and branches; None draws them.
        """
        self.agent = agent
        self._listener = listener
        self._deliver_to_agent = deliver
        self._send = send
        self.tables: Any = new_tables(calls, papers)
        self.stem = stem or secrets.token_hex(DIGITS // 2)
        self._prepare(now_ns)
        self._store = TemplateStore(self.tables)
        self.templates: list[Template] = []
        self._writers: list[RecordWriter] = []
        # Of the calls without a record: template and row.
        self._rows: dict[int, tuple[int, Row]] = {}
        self._slots: dict[str, int] = {}
        # Ends that were ordered, as JSON.
        self._ordered: dict[int, tuple[str, ...]] = {}
        self._words: dict[bytes, str] = {}

    def _prepare(self, now_ns: int) -> None:
        cells, times = self.tables.cells, self.agent.config.timers
        self.tables.stem[:] = np.frombuffer(self.stem.encode(), np.uint8)
        cells[Cell.SECRET], cells[Cell.TICK] = secrets.randbits(60), now_ns // NS_PER_MS
        cells[Cell.T1], cells[Cell.T2] = times.t1_ns, times.t2_ns
        cells[Cell.PATIENCE] = int(BYE_WAIT_S * NS_PER_S)

    def add(self, template: Template, worker: str) -> int | None:
        """Return the number of a template; None where there is no room for more."""
        number = self._store.add(template)
        if number is not None:
            self.templates.append(template)
            self._writers.append(RecordWriter(template.plan, worker))
        return number

    @property
    def active(self) -> int:
        """Calls under way whose record is not out."""
        return int(self.tables.cells[Cell.ACTIVE])

    @property
    def held(self) -> int:
        """Rows in use, those of calls that linger included."""
        return len(self.tables.calls) - int(self.tables.cells[Cell.FREE_CALLS])

    def place(self, template: int, rows: Sequence[Row], now_ns: int) -> list[Row]:
        """Have calls begin when they are due; return those for which there was no place."""
        names = [row.call_id.encode() for row in rows]
        due = np.array([now_ns if row.due_at_ns is None else row.due_at_ns for row in rows], np.int64)
        lengths = np.array([len(name) for name in names], np.int64)
        slots = np.empty(len(rows), np.int64)
        text = np.frombuffer(b"".join(names) or b"\0", np.uint8)
        machine.place_all(self.tables, template, due, text, lengths, slots)
        refused = []
        for slot, row in zip(slots.tolist(), rows, strict=True):
            if slot < 0:
                refused.append(row)
            else:
                self._rows[slot] = (template, row)
                self._slots[row.call_id] = slot
        return refused

    # --- what is told ----------------------------------------------------------------------------------------------

    def take_told(self) -> None:
        """Do what follows from the last steps, in their order."""
        tables = self.tables
        count = int(tables.cells[Cell.TOLD])
        if count == 0:
            return
        tables.cells[Cell.TOLD] = 0
        for place, (kind, slot, datagram, at_ns) in enumerate(tables.told[:count].tolist()):
            try:
                self._take(kind, slot, datagram, at_ns, place)
            except Exception as error:
                _logger.exception("a plain call could not go on; the others do")
                self._lose(slot, repr(error))

    def _take(self, kind: int, slot: int, datagram: int, at_ns: int, place: int) -> None:
        if kind == _CONNECTED:
            self._connected(slot, at_ns)
        elif kind == _ENDED:
            self._ended(slot, self.tables.facts[place].tolist())
        elif kind == _FOREIGN:
            self._deliver(datagram, at_ns)
        elif kind == _HANDED:
            self.hand_over(slot)
            if datagram >= 0:
                self._deliver(datagram, at_ns)
        elif kind == _DUE:
            self._begin_otherwise(slot)
        else:
            self._send_again(slot)

    def _deliver(self, datagram: int, at_ns: int) -> None:
        """Give the user agent a datagram of the inbox."""
        tables = self.tables
        data = tables.in_data[datagram, : tables.in_headers[datagram, 7] & 0xFFFFFFFF].tobytes()
        self._deliver_to_agent(data, sockaddr.unpack(tables.in_names[datagram].tobytes()), at_ns)

    def _connected(self, slot: int, at_ns: int) -> None:
        row = self._rows[slot][1]
        since_ns = int(self.tables.calls[slot, Call.STARTED]) if row.due_at_ns is None else row.due_at_ns
        self._listener.on_plain_connected(row.call_id, at_ns, (at_ns - since_ns) / NS_PER_MS)

    def _ended(self, slot: int, facts: list[int]) -> None:
        template, row = self._rows.pop(slot)
        del self._slots[row.call_id]
        generation, paper_at, *words = [facts[column] for column in _COLUMNS]
        number, paper = (generation << SLOT_BITS) | slot, self.tables.papers[paper_at]
        reason, agent = self._word(paper, *words[:2]), self._word(paper, *words[2:])
        sip_call_id = f'"{self.stem}-{number:016x}@{self.templates[template].flow.local[0]}"'
        ordered = self._ordered.pop(slot, None)
        writer = self._writers[template]
        self._listener.on_plain_ended(row.call_id, writer.write(row, facts, sip_call_id, reason, agent, ordered))

    def _word(self, paper: Any, at: int, length: int) -> str:
        """Return some bytes of a message as JSON text; the same come again and again."""
        found = paper[at : at + length].tobytes()
        text = self._words.get(found)
        if text is None:
            if len(self._words) >= _WORDS_KEPT:
                self._words.clear()
            text = self._words[found] = quote(found.decode())
        return text

    # --- what is not plain -----------------------------------------------------------------------------------------

    def _plan(self, slot: int) -> tuple[CallPlan, int | None]:
        template, row = self._rows.pop(slot)
        del self._slots[row.call_id]
        self._ordered.pop(slot, None)
        return row.plan(self.templates[template].plan), row.due_at_ns

    def _begin_otherwise(self, slot: int) -> None:
        machine.release(self.tables, slot)
        self._listener.on_plain_due(*self._plan(slot))

    def hand_over(self, slot: int) -> None:
        """Have the user agent go on with a call under way, as it stands."""
        tables = self.tables
        call = tables.calls[slot]
        template = self.templates[call[Call.TEMPLATE]]
        name = tables.papers[call[Call.PAPER], : call[Call.NAME_LENGTH]].tobytes().decode()
        history = history_of(tables, slot, number_of(tables, slot), template, name)
        is_recorded = call[Call.GOODBYE] != Goodbye.NONE
        answered, left, started = (int(call[column]) for column in (Call.ANSWERED, Call.LEFT, Call.STARTED))
        machine.release(tables, slot)
        sip_call, told = self.agent.resume(history)
        if is_recorded:
            # Its BYE was not answered in time and goes on; nobody waits for what comes of it.
            return
        begun = Begun(sip_call, started, history.invite.at_ns, left or None, answered > 0, told)
        sip_call.owner = begun
        plan, due_at_ns = self._plan(slot)
        self._listener.on_plain_handed(plan, due_at_ns, begun)

    def hand_over_pending(self, remotes: Collection[Address]) -> None:
        """Hand over the calls that wait for an answer of one of these addresses."""
        states = self.tables.calls[:, Call.STATE]
        for slot, (template, _row) in list(self._rows.items()):
            if self.templates[template].flow.remote in remotes and int(states[slot]) in _WAITING_FOR_ANSWER:
                self.hand_over(slot)

    def _lose(self, slot: int, why: str) -> None:
        """Record a call that ended by a fault of ours."""
        if slot not in self._rows:
            return
        template, row = self._rows.pop(slot)
        del self._slots[row.call_id]
        self._ordered.pop(slot, None)
        started_at_ns = int(self.tables.calls[slot, Call.STARTED])
        machine.release(self.tables, slot)
        self._listener.on_plain_ended(row.call_id, self._writers[template].write_lost(row, started_at_ns, why))

    def _send_again(self, slot: int) -> None:
        """Send what the kernel refused by the way that tells why."""
        tables = self.tables
        call = tables.calls[slot]
        message = _LAST_SENT.get(int(call[Call.STATE]))
        if message is not None:
            row = np.zeros(MOST_SENT, np.uint8)
            length = compose(tables, slot, message, row, tables.papers[call[Call.PAPER]])
            self._send(row[:length].tobytes(), self.templates[call[Call.TEMPLATE]].flow.remote)

    # --- the operator ----------------------------------------------------------------------------------------------

    def interrupt(self, call_id: str, end: End, now_ns: int) -> bool:
        """End a call early; False where it is not under way as a plain one, or needs more than a BYE."""
        slot = self._slots.get(call_id)
        if slot is None:
            return False
        state = int(self.tables.calls[slot, Call.STATE])
        if state == State.WAITING:
            return False
        if state in (State.CALLING, State.PROCEEDING):
            self.hand_over(slot)
            return False
        outcome, cause, detail = map(quote, end)
        self._ordered[slot] = (outcome, cause, detail)
        if state == State.UP:
            machine.leave_all(self.tables, np.array([slot], np.int64), now_ns)
        return True

    def forget_waiting(self) -> None:
        """Forget the calls that are not due yet."""
        for slot, (_template, row) in list(self._rows.items()):
            if self.tables.calls[slot, Call.STATE] == State.WAITING:
                machine.release(self.tables, slot)
                del self._rows[slot], self._slots[row.call_id]

    def under_way(self) -> list[str]:
        """Return the names of the calls that have begun and have no record yet."""
        states = self.tables.calls[:, Call.STATE]
        return [row.call_id for slot, (_template, row) in self._rows.items() if states[slot] != State.WAITING]


def is_name(call_id: str) -> bool:
    """Whether a call's name may stand in a header field as it is."""
    return call_id.isascii() and call_id.isprintable() and 0 < len(call_id) <= NAME_BYTES
