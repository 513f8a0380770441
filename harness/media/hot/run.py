"""The loop itself: sleep to the next deadline, send what is due, read what came, tell Python.

Deadlines are absolute: PHASES of them every 20 ms, each with its share of the calls. Sockets are read at the deadlines
only; the kernel's stamps say when a datagram came, so reading late costs nothing but memory, and it spares a wake-up a
packet. Python calls `run` on a thread of its own; it returns when told to stop.
"""

from typing import Any

from harness.media.hot.aside import ask_for_digit, ask_to_play, direct
from harness.media.hot.batch import flush
from harness.media.hot.clock import monotonic_ns, refresh_offset, sleep_until
from harness.media.hot.ear import EAR_BYTES, ear_anew, ear_await, ear_poll
from harness.media.hot.gcm import fetch_stream
from harness.media.hot.impair import INCOMING, line_address, line_due, line_forget, line_free, line_next_due_ns
from harness.media.hot.impaired import send_held
from harness.media.hot.incoming import read_ports, take_media
from harness.media.hot.jit import compiled
from harness.media.hot.layout import (
    CALL_BYTES,
    HEARD_UNTIL_NS,
    HEARING_LINE,
    HEARING_LINES,
    NAME_BYTES,
    NEXT_BELL_NS,
    NEXT_PHASE,
    PHASE_NS,
    PHASES,
    PORT_BYTES,
    RESTED_AT_NS,
    RTCP_INTERVAL_NS,
    Command,
    Counter,
    Event,
)
from harness.media.hot.members import insert_member, take_out_member
from harness.media.hot.outgoing import send_tick
from harness.media.hot.prefetch import AHEAD, fetch_row
from harness.media.hot.redirect import redirect_call
from harness.media.hot.reimpair import impair_anew
from harness.media.hot.rings import release, waiting_row
from harness.media.hot.rtcp import send_bye, send_report
from harness.media.hot.senders import forget_call, keep_call
from harness.media.hot.tell import ring_bell, tell

# Of each stretch of work that long, the event loop gets this much of the core they may share.
MOST_WORK_NS, REST_NS = 10_000_000, 1_000_000


@compiled
def run(media: Any) -> None:
    """Run until told to STOP."""
    now_ns = monotonic_ns(media)
    # Phases that passed while nobody ran are not made up for.
    media.cells[NEXT_PHASE] = now_ns // PHASE_NS + 1
    media.cells[HEARD_UNTIL_NS] = now_ns
    media.cells[RESTED_AT_NS] = now_ns
    while True:
        refresh_offset(media, now_ns)
        if _serve_commands(media, now_ns):
            flush(media)
            ring_bell(media, media.cells[NEXT_BELL_NS])
            return
        now_ns = monotonic_ns(media)
        if now_ns >= media.cells[NEXT_PHASE] * PHASE_NS:
            _send_phase(media, media.cells[NEXT_PHASE], now_ns)
            media.cells[NEXT_PHASE] += 1
        read_ports(media, media.cells[NEXT_PHASE] * PHASE_NS)
        _serve_line(media)
        flush(media)
        ring_bell(media, now_ns)
        media.counters[Counter.WAKEUPS] += 1
        now_ns = monotonic_ns(media)
        wake_ns = next_wake_ns(media, now_ns)
        if wake_ns > now_ns:
            sleep_until(media, wake_ns)
            now_ns = monotonic_ns(media)
            media.cells[RESTED_AT_NS] = now_ns


@compiled
def next_wake_ns(media: Any, now_ns: int) -> int:
    """Return when there is something to do again, which may have passed."""
    wake_ns = min(media.cells[NEXT_PHASE] * PHASE_NS, line_next_due_ns(media.line))
    if wake_ns <= now_ns and now_ns - media.cells[RESTED_AT_NS] > MOST_WORK_NS:
        # Behind for so long, and above the event loop in rank: it must get its turn, or no call is served at all.
        return now_ns + REST_NS
    return int(wake_ns)


@compiled
def _send_phase(media: Any, number: int, now_ns: int) -> None:
    phase = number % PHASES
    due_ns = number * PHASE_NS
    count = int(media.member_counts[phase])
    for place in range(-2 * AHEAD, count):
        if place + 2 * AHEAD < count:
            _fetch(media, media.members[phase, place + 2 * AHEAD])
        if 0 <= place + AHEAD < count:
            # What it refers to, itself being there by now.
            fetch_row(media.ports, PORT_BYTES, media.calls[media.members[phase, place + AHEAD]].port, 0, 1)
        if place < 0:
            continue
        index = media.members[phase, place]
        send_tick(media, index, now_ns, due_ns)
        _watch(media, index)
        call = media.calls[index]
        if now_ns >= call.next_rtcp_ns:
            call.next_rtcp_ns = now_ns + RTCP_INTERVAL_NS
            send_report(media, index, now_ns, due_ns)
    flush(media)


@compiled
def _fetch(media: Any, index: int) -> None:
    """Have what a tick of a call touches fetched."""
    fetch_row(media.calls, CALL_BYTES, index, 0, HEARING_LINE + HEARING_LINES)
    fetch_row(media.ears, EAR_BYTES, index, 0, 1)
    fetch_row(media.names, NAME_BYTES, index, 0, 1)
    fetch_stream(media.gcm, 2 * index)


@compiled
def _watch(media: Any, index: int) -> None:
    """Tell of silence, up to where the call's port was read: a loop held up must not blame the agent."""
    call = media.calls[index]
    heard_until_ns = media.ports[call.port].behind_since_ns or media.cells[HEARD_UNTIL_NS]
    stopped_ns = ear_poll(media.ears[index], heard_until_ns, media.scratch)
    if stopped_ns != 0:
        tell(media, Event.AGENT_STOPPED, index, stopped_ns, 0)
    if not call.lost_told and heard_until_ns - call.last_heard_ns > call.media_timeout_ns:
        call.lost_told = 1
        tell(media, Event.MEDIA_LOST, index, call.last_heard_ns, 0)


@compiled
def _serve_line(media: Any) -> None:
    """Let go of what the emulated network has held long enough."""
    now_ns = monotonic_ns(media)
    slot = line_due(media.line, now_ns)
    while slot >= 0:
        held = media.line.slots[slot]
        address = line_address(media.line, slot)
        if held.direction == INCOMING:
            take_media(media, held.call, media.line.data[slot], address, held.length, held.at_ns)
        else:
            send_held(media, held.call, int(media.line.data[slot, 1]), address, held.length, now_ns)
        line_free(media.line, slot)
        slot = line_due(media.line, now_ns)


@compiled
def _serve_commands(media: Any, now_ns: int) -> bool:
    """Do what Python asked; True when that was to stop."""
    ring = media.commands
    at = waiting_row(ring.rows, ring.cells)
    while at >= 0:
        command = ring.rows[at]
        kind = command.kind
        serve(media, kind, command.call, command.clip, command.at_ns, now_ns)
        release(ring.cells)
        if kind == Command.STOP:
            return True
        at = waiting_row(ring.rows, ring.cells)
    return False


@compiled
def serve(media: Any, kind: int, index: int, clip: int, at_ns: int, now_ns: int) -> None:
    """Do one thing that Python asked."""
    if kind == Command.PLAY:
        ask_to_play(media, index, clip, at_ns)
    elif kind == Command.AWAIT:
        ear_await(media.ears[index], clip != 0)
    elif kind == Command.ADD_CALL:
        _add_call(media, index, now_ns)
    elif kind == Command.REMOVE_CALL:
        _remove_call(media, index, now_ns)
    elif kind == Command.REMOVE_PORT:
        _remove_port(media, index, now_ns)
    elif kind == Command.DIGIT:
        ask_for_digit(media, index, at_ns)
    elif kind == Command.DIRECT:
        direct(media, index, clip != 0, at_ns != 0, now_ns)
    elif kind == Command.REDIRECT:
        redirect_call(media, index, clip, now_ns)
    elif kind == Command.HEAR_ANEW:
        ear_anew(media.ears[index], media.ears[index].codec, media.ears[index].by_size, at_ns)
    else:
        _serve_faults(media, kind, index, clip, at_ns)


@compiled
def _serve_faults(media: Any, kind: int, index: int, clip: int, at_ns: int) -> None:
    """Do what is asked for while something is broken on purpose."""
    if kind == Command.IMPAIR:
        impair_anew(media, index, clip, at_ns)
    elif kind == Command.TAP:
        media.calls[index].record = clip


@compiled
def _add_call(media: Any, index: int, now_ns: int) -> None:
    call = media.calls[index]
    if call.key != 0:
        keep_call(media, call.key, index)
    phase = 0
    for other in range(1, PHASES):
        if media.member_counts[other] < media.member_counts[phase]:
            phase = other
    call.phase = phase
    insert_member(media, phase, index)
    call.last_heard_ns = now_ns
    # Reports of calls that begin together do not leave together.
    call.next_rtcp_ns = now_ns + RTCP_INTERVAL_NS * (index % 64) // 64
    call.active = 1


@compiled
def _remove_port(media: Any, port: int, now_ns: int) -> None:
    """Let go of a port and of the calls still on it: its descriptor will soon be another socket's."""
    for phase in range(PHASES):
        for place in range(media.member_counts[phase] - 1, -1, -1):
            index = media.members[phase, place]
            if media.calls[index].port == port:
                _remove_call(media, index, now_ns)
    media.ports[port].open = 0
    tell(media, Event.PORT_REMOVED, -1, now_ns, port)


@compiled
def _remove_call(media: Any, index: int, now_ns: int) -> None:
    call = media.calls[index]
    if not call.active:
        return
    send_bye(media, index, now_ns)
    flush(media)
    call.active = 0
    line_forget(media.line, index)
    if call.key != 0:
        forget_call(media, call.key)
    take_out_member(media, call.phase, index)
    tell(media, Event.CALL_REMOVED, index, now_ns, 0)
