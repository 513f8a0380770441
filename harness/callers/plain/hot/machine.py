"""One plain call, from its due time to Timer M: what is sent, waited for and told; the time is an argument.

    WAITING ─due─► CALLING ─1xx─► PROCEEDING ─2xx─► UP ─hold over─► LEAVING ─answer─► OVER ─Timer M─► FREE
       INVITE       A: INVITE again    (2xx also     ACK    BYE       E: BYE again       2xx: ACK again
                                     from CALLING)                       └─4 s─► ABANDONED ─answer, Timer F─►
    From CALLING to ABANDONED, whatever is not plain: HANDED.

Timers are RFC 3261's (17.1.1.2, 17.1.2.2) and RFC 6026's; B, and no answer in time, are the user agent's business.
"""

from typing import Any

from harness.callers.plain.hot.compose import compose
from harness.callers.plain.hot.jit import compiled
from harness.callers.plain.hot.layout import (
    CALL_WIDTH,
    MOST_KEPT,
    MOST_TEXT,
    NAME_BYTES,
    PAPER_BYTES,
    SLOT_BITS,
    TICKS,
    Call,
    Cell,
    Goodbye,
    Message,
    Scan,
    Setting,
    State,
    Told,
)
from harness.callers.plain.hot.scan import mentioned, scan
from harness.callers.plain.hot.text import copy, hash_of
from harness.callers.plain.hot.wheel import set_timer, unset_timer

_NS_PER_TICK = 1_000_000
# 64 * T1, and timer K in T1: RFC 3261 has it as T4, which is 5 s where T1 is 0.5.
_GIVE_UP, _TIMER_K = 64, 10
_GENERATIONS = 1 << (60 - SLOT_BITS - 1)


# --- what is told and sent -------------------------------------------------------------------------------------------


@compiled
def tell(tables: Any, kind: int, index: int, what: int, at_ns: int) -> None:
    """Tell Python of a call."""
    place = tables.cells[Cell.TOLD]
    row = tables.told[place]
    row[0], row[1], row[2], row[3] = kind, index, what, at_ns
    tables.cells[Cell.TOLD] = place + 1


@compiled
def send(tables: Any, index: int, message: int, stamp: int, source: Any) -> None:
    """Put a message of a call into the outbox; `stamp` is the column that its send time goes to, 0 = none."""
    cells = tables.cells
    place = cells[Cell.OUT]
    template = tables.calls[index, Call.TEMPLATE]
    tables.out_vectors[place, 1] = compose(tables, index, message, tables.out_data[place], source)
    header = tables.out_headers[place]
    header[0] = tables.addresses.ctypes.data + tables.addresses.shape[1] * template
    header[1] = tables.templates[template, Setting.ADDRESS_LENGTH]
    tables.out_stamps[place, 0], tables.out_stamps[place, 1] = index, stamp
    cells[Cell.OUT] = place + 1


@compiled
def _send_own(tables: Any, index: int, message: int, stamp: int) -> None:
    send(tables, index, message, stamp, tables.papers[tables.calls[index, Call.PAPER]])


@compiled
def _hand_over(tables: Any, index: int, datagram: int, at_ns: int) -> None:
    """Have the user agent take the call over."""
    unset_timer(tables, index)
    tables.calls[index, Call.STATE] = State.HANDED
    tell(tables, Told.HANDED, index, datagram, at_ns)


# --- beginning and end of a row --------------------------------------------------------------------------------------


@compiled
def place(tables: Any, template: int, due_ns: int, name: Any, name_at: int, name_length: int) -> int:
    """Have a call begin when it is due; return its row, -1 where there is none left or its name is too long."""
    cells = tables.cells
    if cells[Cell.FREE_CALLS] == 0 or cells[Cell.FREE_PAPERS] == 0 or name_length > NAME_BYTES:
        return -1
    cells[Cell.FREE_CALLS] -= 1
    cells[Cell.FREE_PAPERS] -= 1
    cells[Cell.WAITING] += 1
    index = tables.free_calls[cells[Cell.FREE_CALLS]]
    call = tables.calls[index]
    generation = call[Call.GENERATION] % _GENERATIONS + 1
    for column in range(CALL_WIDTH):
        call[column] = 0
    call[Call.GENERATION], call[Call.TEMPLATE], call[Call.DUE] = generation, template, due_ns
    call[Call.STATE] = State.WAITING
    call[Call.PAPER] = tables.free_papers[cells[Cell.FREE_PAPERS]]
    call[Call.NAME_LENGTH], call[Call.FILLED] = name_length, NAME_BYTES
    copy(tables.papers[call[Call.PAPER]], 0, name, name_at, name_length)
    set_timer(tables, index, due_ns)
    return int(index)


@compiled
def place_all(tables: Any, template: int, due_ns: Any, names: Any, lengths: Any, placed: Any) -> None:
    """`place` calls whose names lie one behind the other; their rows go into `placed`."""
    at = 0
    for i in range(len(due_ns)):
        placed[i] = place(tables, template, due_ns[i], names, at, lengths[i])
        at += lengths[i]


@compiled
def _drop_paper(tables: Any, index: int) -> None:
    call, cells = tables.calls[index], tables.cells
    if call[Call.PAPER] >= 0:
        tables.free_papers[cells[Cell.FREE_PAPERS]] = call[Call.PAPER]
        cells[Cell.FREE_PAPERS] += 1
        call[Call.PAPER] = -1


@compiled
def release(tables: Any, index: int) -> None:
    """Give a row back: its call is over, forgotten before it was due, or the user agent's."""
    call, cells = tables.calls[index], tables.cells
    state = call[Call.STATE]
    if state == State.FREE:
        return
    unset_timer(tables, index)
    _drop_paper(tables, index)
    if state == State.WAITING:
        cells[Cell.WAITING] -= 1
    elif call[Call.GOODBYE] == Goodbye.NONE:
        cells[Cell.ACTIVE] -= 1
    else:
        cells[Cell.LINGERING] -= 1
    call[Call.STATE] = State.FREE
    tables.free_calls[cells[Cell.FREE_CALLS]] = index
    cells[Cell.FREE_CALLS] += 1


@compiled
def _record(tables: Any, index: int, goodbye: int, at_ns: int) -> None:
    """Tell what there is to record; the call lingers from here on."""
    call, cells = tables.calls[index], tables.cells
    call[Call.GOODBYE], call[Call.ENDED] = goodbye, at_ns
    facts = tables.facts[cells[Cell.TOLD]]
    for column in range(CALL_WIDTH):
        facts[column] = call[column]
    for i in range(call[Call.KEPT]):
        facts[CALL_WIDTH + 2 * i] = tables.kept[call[Call.PAPER], i, 0]
        facts[CALL_WIDTH + 2 * i + 1] = tables.kept[call[Call.PAPER], i, 1]
    tell(tables, Told.ENDED, index, 0, at_ns)
    cells[Cell.ACTIVE] -= 1
    cells[Cell.LINGERING] += 1


# --- time ------------------------------------------------------------------------------------------------------------


@compiled
def fire_one(tables: Any, now_ns: int) -> bool:
    """Serve the next timer that is due; False when there is none."""
    cells = tables.cells
    last = now_ns // _NS_PER_TICK
    if cells[Cell.TICK] == 0 or last - cells[Cell.TICK] > TICKS:
        # The first time, or after a pause longer than the wheel: nothing may be passed over.
        cells[Cell.TICK] = max(cells[Cell.TICK], last - TICKS + 2)
    while cells[Cell.TICK] <= last:
        first = tables.wheel[cells[Cell.TICK] & (TICKS - 1)]
        if first:
            index = first - 1
            if tables.calls[index, Call.TICK] <= last:
                unset_timer(tables, index)
                _on_timer(tables, index, now_ns)
                return True
        cells[Cell.TICK] += 1
    return False


@compiled
def _on_timer(tables: Any, index: int, now_ns: int) -> None:
    call = tables.calls[index]
    state = call[Call.STATE]
    if state == State.WAITING:
        if now_ns < call[Call.DUE]:
            set_timer(tables, index, call[Call.DUE])
        else:
            _begin(tables, index, now_ns)
    elif now_ns >= call[Call.LIMIT_AT]:
        _on_limit(tables, index, now_ns)
    else:
        if call[Call.RESEND_AT] and now_ns >= call[Call.RESEND_AT]:
            _send_again(tables, index, now_ns)
        _set_next(tables, index)


@compiled
def _set_next(tables: Any, index: int) -> None:
    call = tables.calls[index]
    again, limit = call[Call.RESEND_AT], call[Call.LIMIT_AT]
    set_timer(tables, index, min(again, limit) if again else limit)


@compiled
def _begin(tables: Any, index: int, now_ns: int) -> None:
    call, cells = tables.calls[index], tables.cells
    setting = tables.templates[call[Call.TEMPLATE]]
    if setting[Setting.PAUSED]:
        tell(tables, Told.DUE, index, 0, now_ns)
        return
    cells[Cell.WAITING] -= 1
    cells[Cell.ACTIVE] += 1
    call[Call.STATE] = State.CALLING
    call[Call.STARTED] = call[Call.INVITED] = now_ns
    call[Call.INTERVAL] = cells[Cell.T1]
    call[Call.RESEND_AT] = now_ns + cells[Cell.T1]
    # Timer B, or an earlier wish of the plan.
    call[Call.LIMIT_AT] = now_ns + min(setting[Setting.LIMIT_NS], _GIVE_UP * cells[Cell.T1])
    _send_own(tables, index, Message.INVITE, Call.INVITED)
    _set_next(tables, index)


@compiled
def _send_again(tables: Any, index: int, now_ns: int) -> None:
    """Timers A and E."""
    call, cells = tables.calls[index], tables.cells
    call[Call.RESENT] += 1
    doubled = 2 * call[Call.INTERVAL]
    if call[Call.STATE] == State.CALLING:
        call[Call.INTERVAL] = doubled
        _send_own(tables, index, Message.INVITE, 0)
    else:
        call[Call.BYE_RESENT] += 1
        call[Call.INTERVAL] = min(doubled, cells[Cell.T2])
        _send_own(tables, index, Message.BYE, 0)
    call[Call.RESEND_AT] = now_ns + call[Call.INTERVAL]


@compiled
def _on_limit(tables: Any, index: int, now_ns: int) -> None:
    """Do what follows when that which the state waited for did not come in time."""
    call, cells = tables.calls[index], tables.cells
    state = call[Call.STATE]
    if state == State.UP:
        leave(tables, index, now_ns)
    elif state == State.LEAVING:
        _record(tables, index, Goodbye.UNANSWERED, now_ns)
        call[Call.STATE] = State.ABANDONED
        call[Call.LIMIT_AT] = call[Call.LEFT] + _GIVE_UP * cells[Cell.T1]
        _set_next(tables, index)
    elif state in (State.ABANDONED, State.OVER):
        release(tables, index)
    else:
        _hand_over(tables, index, -1, now_ns)


@compiled
def leave(tables: Any, index: int, now_ns: int) -> None:
    """Hang up a call that is up."""
    call, cells = tables.calls[index], tables.cells
    call[Call.STATE], call[Call.LEFT] = State.LEAVING, now_ns
    call[Call.INTERVAL] = cells[Cell.T1]
    call[Call.RESEND_AT] = now_ns + cells[Cell.T1]
    call[Call.LIMIT_AT] = now_ns + cells[Cell.PATIENCE]
    _send_own(tables, index, Message.BYE, Call.LEFT)
    _set_next(tables, index)


@compiled
def leave_all(tables: Any, indices: Any, now_ns: int) -> None:
    """Hang up calls that are up."""
    for i in range(len(indices)):
        leave(tables, indices[i], now_ns)


# --- what comes ------------------------------------------------------------------------------------------------------


@compiled
def take(tables: Any, datagram: int, data: Any, length: int, at_ns: int, now_ns: int) -> None:
    """Take the datagram of that place in the inbox, which came at `at_ns`."""
    tables.cells[Cell.RECEIVED] += 1
    index = scan(tables, data, length)
    if index >= 0 and tables.calls[index, Call.STATE] != State.HANDED:
        if tables.scan[Scan.METHOD] == Message.INVITE:
            is_taken = _take_answer(tables, index, data, length, at_ns, now_ns)
        else:
            is_taken = _take_goodbye(tables, index, at_ns)
        if is_taken:
            return
    elif index < 0:
        index = mentioned(tables, data, length)
    if index < 0 or tables.calls[index, Call.STATE] in (State.HANDED, State.OVER):
        tell(tables, Told.FOREIGN, -1, datagram, at_ns)
    else:
        _hand_over(tables, index, datagram, at_ns)


@compiled
def _take_answer(tables: Any, index: int, data: Any, length: int, at_ns: int, now_ns: int) -> bool:
    """Take a response to INVITE; False where it is not plain."""
    call, found = tables.calls[index], tables.scan
    status = found[Scan.STATUS]
    if call[Call.STATE] >= State.UP:
        # Accepted: other classes are absorbed (RFC 6026 7.2).
        return status // 100 != 2 or bool(_acknowledge_again(tables, index, data, at_ns))
    tag = hash_of(data, found[Scan.TO_AT], found[Scan.TO_LENGTH]) if found[Scan.HAS_TAG] else 0
    is_other_fork = status > 100 and tag != 0 and call[Call.TO_HASH] not in (0, tag)
    if status >= 300 or is_other_fork or not _has_room(call, length):
        return False
    if status >= 200 and not (tag and _is_answerable(found)):
        return False
    begin = call[Call.FILLED]
    _keep(tables, index, data, length, at_ns)
    _note_agent(call, found, begin)
    if status != 100 and call[Call.FIRST_SIGN] == 0:
        call[Call.FIRST_SIGN] = at_ns
    if status > 100 and tag:
        call[Call.TO_HASH] = tag
    if status >= 200:
        _take_up(tables, index, begin, at_ns, now_ns)
    elif call[Call.STATE] == State.CALLING:
        _proceed(tables, index)
    return True


@compiled
def _is_answerable(found: Any) -> bool:
    """Whether requests of the dialog that a 2xx makes go where the INVITE went, and are not too long."""
    return bool(found[Scan.IS_NEAR] and found[Scan.TO_LENGTH] <= MOST_TEXT and found[Scan.TARGET_LENGTH] <= MOST_TEXT)


@compiled
def _has_room(call: Any, length: int) -> bool:
    # The last place is the 2xx's: it is handed over with all that came before it.
    return bool(call[Call.KEPT] < MOST_KEPT and call[Call.FILLED] + length <= PAPER_BYTES)


@compiled
def _keep(tables: Any, index: int, data: Any, length: int, at_ns: int) -> None:
    call = tables.calls[index]
    paper = call[Call.PAPER]
    row = tables.kept[paper, call[Call.KEPT]]
    call[Call.FILLED] = copy(tables.papers[paper], call[Call.FILLED], data, 0, length)
    row[0], row[1], row[2] = at_ns, tables.scan[Scan.STATUS], call[Call.FILLED]
    call[Call.KEPT] += 1


@compiled
def _note_agent(call: Any, found: Any, begin: int) -> None:
    """Note what the agent calls itself: Server, or else User-Agent."""
    if found[Scan.SERVER_LENGTH]:
        call[Call.AGENT_AT], call[Call.AGENT_LENGTH] = begin + found[Scan.SERVER_AT], found[Scan.SERVER_LENGTH]
    elif found[Scan.AGENT_LENGTH]:
        call[Call.AGENT_AT], call[Call.AGENT_LENGTH] = begin + found[Scan.AGENT_AT], found[Scan.AGENT_LENGTH]


@compiled
def _proceed(tables: Any, index: int) -> None:
    """Stop timers A and B: the agent has the INVITE."""
    call = tables.calls[index]
    setting = tables.templates[call[Call.TEMPLATE]]
    call[Call.STATE], call[Call.RESEND_AT] = State.PROCEEDING, 0
    call[Call.LIMIT_AT] = call[Call.STARTED] + setting[Setting.LIMIT_NS]
    _set_next(tables, index)


@compiled
def _take_up(tables: Any, index: int, begin: int, at_ns: int, now_ns: int) -> None:
    """Take the first 2xx."""
    call, cells, found = tables.calls[index], tables.cells, tables.scan
    call[Call.STATE], call[Call.ANSWERED], call[Call.STATUS] = State.UP, at_ns, found[Scan.STATUS]
    call[Call.TO_AT], call[Call.TO_LENGTH] = begin + found[Scan.TO_AT], found[Scan.TO_LENGTH]
    call[Call.TARGET_AT], call[Call.TARGET_LENGTH] = begin + found[Scan.TARGET_AT], found[Scan.TARGET_LENGTH]
    call[Call.REASON_AT], call[Call.REASON_LENGTH] = begin + found[Scan.REASON_AT], found[Scan.REASON_LENGTH]
    call[Call.RESEND_AT] = 0
    call[Call.LIMIT_AT] = at_ns + tables.templates[call[Call.TEMPLATE], Setting.HOLD_NS]
    call[Call.LINGER_UNTIL] = at_ns + _GIVE_UP * cells[Cell.T1]
    _send_own(tables, index, Message.ACK, 0)
    tell(tables, Told.CONNECTED, index, 0, at_ns)
    if now_ns >= call[Call.LIMIT_AT]:
        leave(tables, index, now_ns)
    else:
        _set_next(tables, index)


@compiled
def _acknowledge_again(tables: Any, index: int, data: Any, at_ns: int) -> bool:
    """Take a 2xx that comes again, for our ACK was lost; False where it is another fork's."""
    call, found = tables.calls[index], tables.scan
    if not found[Scan.HAS_TAG] or hash_of(data, found[Scan.TO_AT], found[Scan.TO_LENGTH]) != call[Call.TO_HASH]:
        return False
    if at_ns > call[Call.LINGER_UNTIL]:
        return True
    tables.cells[Cell.REPEATED] += 1
    if call[Call.PAPER] >= 0:
        _send_own(tables, index, Message.ACK, 0)
    elif _is_answerable(found):
        # Nothing is kept of a call that is over; the message says it all again.
        call[Call.TO_AT], call[Call.TO_LENGTH] = found[Scan.TO_AT], found[Scan.TO_LENGTH]
        call[Call.TARGET_AT], call[Call.TARGET_LENGTH] = found[Scan.TARGET_AT], found[Scan.TARGET_LENGTH]
        send(tables, index, Message.ACK, 0, data)
    return True


@compiled
def _take_goodbye(tables: Any, index: int, at_ns: int) -> bool:
    """Take a response to our BYE; False where there was no BYE."""
    call, cells = tables.calls[index], tables.cells
    state, status = call[Call.STATE], tables.scan[Scan.STATUS]
    if state == State.OVER:
        return True
    if state not in (State.LEAVING, State.ABANDONED):
        return False
    if status < 200:
        # From here on E runs every T2 (RFC 3261 17.1.2.2).
        call[Call.INTERVAL] = cells[Cell.T2]
        return True
    if state == State.LEAVING:
        _record(tables, index, Goodbye.ANSWERED if status < 300 else Goodbye.REFUSED, at_ns)
    _drop_paper(tables, index)
    call[Call.STATE], call[Call.RESEND_AT] = State.OVER, 0
    call[Call.LIMIT_AT] = max(call[Call.LINGER_UNTIL], at_ns + _TIMER_K * cells[Cell.T1])
    _set_next(tables, index)
    return True
